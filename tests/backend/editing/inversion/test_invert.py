"""Inversion: every generator of images comes nearer to a photograph, and tuning leaves the given model alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from addon.wire.errors import Cancelled, NotSupported
from addon.wire.messages import InversionOptions
from backend.editing.inversion.invert import invert
from backend.editing.inversion.photograph import Photograph, prepare
from backend.editing.inversion.viewpoint import default_viewpoint
from backend.models.library import load_model
from backend.models.store import model_folder
from tests.backend.scenes.test_gradients import made

GENERATORS = ("pigan", "graf", "shadegan", "stylesdf", "stylesdf-thumbnail", "stylenerf", "eg3d", "hologan")
SIDE = 16


def sunset() -> Photograph:
    """A photograph without a mask: a disc before colours that run into each other."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    pixels = np.stack((200 * y, 120 * x, 255 * (1 - y), np.full_like(x, 255)), -1).astype(np.uint8)
    pixels[np.hypot(x - 0.5, y - 0.5) < 0.3, :3] = (220, 90, 60)
    return prepare(pixels, SIDE)


@pytest.mark.parametrize("name", GENERATORS)
def test_latent_and_weights_come_nearer_to_the_photograph(name: str) -> None:
    generator = copy.deepcopy(made(name))
    before = {key: value.clone() for key, value in generator.network.state_dict().items()}  # type: ignore[attr-defined]
    view = default_viewpoint(generator.info)
    target = sunset()
    first = invert(generator, target, InversionOptions(steps=2, candidates=1), view=view)
    options = InversionOptions(steps=16, tuning_steps=5, tuning_rate=1e-4, candidates=1)
    found = invert(generator, target, options, view=view)
    assert found.ws.shape == (generator.info.num_ws, generator.info.w_dim)
    assert found.projected_psnr > first.psnr
    assert found.psnr > found.projected_psnr
    assert found.tuned is not None
    for key, value in generator.network.state_dict().items():  # type: ignore[attr-defined]
        assert torch.equal(value, before[key])
    assert not any(weight.requires_grad for weight in found.tuned.parameters_for("all"))


def test_progress_shows_photograph_and_image_and_cancels() -> None:
    generator = made("eg3d")
    shown: list[NDArray[np.uint8]] = []

    def progress(fraction: float, text: str = "", preview: object = None, *, figures: object = None) -> None:
        if isinstance(preview, np.ndarray):
            shown.append(preview)
        if fraction > 0.5:
            raise Cancelled

    target = sunset()
    with pytest.raises(Cancelled):
        invert(generator, target, InversionOptions(steps=40, candidates=1), progress=progress)
    assert shown
    assert shown[0].shape == (2, SIDE, SIDE, 4)
    assert np.abs(shown[0][0, ..., :3].astype(float) - target.over(1.0).numpy() * 255).max() <= 1


def test_a_photograph_of_another_class_is_said_with_what_was_measured() -> None:
    generator = load_model(model_folder("eg3d_chairs"))
    y, x = np.mgrid[:64, :64] - 31.5
    disc = np.zeros((64, 64, 4), np.uint8)
    disc[np.hypot(x, y) < 24] = (40, 200, 60, 255)
    found = invert(generator, prepare(disc, 32), InversionOptions(steps=20, candidates=8))
    assert found.notes
    assert "unlike what Chairs (EG3D) makes" in found.notes[-1]
    assert f"{found.projected_psnr:.1f} dB" in found.notes[-1]


@pytest.mark.parametrize(("name", "says"), [("hash-field", "no latent"), ("deepsdf", "no colour")])
def test_models_without_latent_or_colour_are_refused(name: str, says: str) -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[8:24, 8:24] = 255
    with pytest.raises(NotSupported, match=says):
        invert(made(name), prepare(pixels, 32), InversionOptions())
