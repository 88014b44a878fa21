"""Inversion as a task and from the command line: what is stored, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from addon.wire.errors import Cancelled, InvalidRequest, OutOfMemory, UnreadableFile
from addon.wire.messages import InversionOptions, InvertRequest, Latent, SceneRef
from backend.cameras import from_wire, orbit
from backend.editing.inversion.perceptual import PerceptualNetwork
from backend.folders import user_models
from backend.generators.eg3d.scene import EG3DScene
from backend.models.card import read_card
from backend.models.store import find_models, save_model
from backend.progress import silent
from backend.service import tasks
from backend.tasks.invert import invert as run_invert
from backend.tasks.workspace import Workspace
from tests.backend.scenes.test_gradients import made

SIDE = 32
QUICK = InversionOptions(steps=2, candidates=1)


@pytest.fixture
def model(data: Path) -> str:
    """A small EG3D among the user's models."""
    generator: Any = made("eg3d")
    from backend.bench.generators import _card, tiny_eg3d

    save_model(user_models() / "small", _card("eg3d", tiny_eg3d()), generator.network.state_dict())
    return "small"


def png(pixels: np.ndarray) -> bytes:
    """An image file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def block(side: int = SIDE) -> np.ndarray:
    """A photograph of a block."""
    pixels = np.zeros((side, side, 4), np.uint8)
    pixels[side // 4 : -side // 4, side // 4 : -side // 4] = (180, 90, 30, 255)
    return pixels


def test_the_latent_is_stored_and_tuned_weights_are_a_model_that_makes_the_image(model: str) -> None:
    shared = Workspace("cpu")
    picture = shared.blobs.put(png(block()))
    options = InversionOptions(steps=4, tuning_steps=4, candidates=1)
    request = InvertRequest(model, picture, name="mine", options=options)
    found = tasks.run("invert", request, silent, shared)
    assert found.model == "mine"
    assert found.psnr > found.projected_psnr
    card = read_card(find_models()["mine"])
    assert card.parent == model
    assert "Perceptual network: none" in card.card
    scene = shared.scene(SceneRef("mine", Latent(code=found.code)))
    info = shared.generator("mine").info
    azimuth, elevation = found.view
    camera = orbit(info, info.image_size, azimuth=azimuth, elevation=elevation)
    with torch.no_grad():
        image = scene.render(from_wire(camera))
    shown = (image.rgb * image.alpha[..., None] + 1 - image.alpha[..., None]).numpy() * 255
    assert np.abs(shown - found.made).max() <= 1
    with pytest.raises(InvalidRequest, match="already that was not tuned"):
        tasks.run("invert", InvertRequest(model, picture, name=model, options=options), silent, shared)
    seen = PerceptualNetwork("Pixels, MIT", 8, lambda images: images.flatten(1))
    run_invert(request, silent, shared, seen)  # again: it replaces its own
    assert "Perceptual network: Pixels, MIT." in read_card(find_models()["mine"]).card


def test_a_mask_is_an_image_of_the_photographs_size(model: str) -> None:
    shared = Workspace("cpu")
    opaque = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    white = np.zeros((SIDE, SIDE), np.uint8)
    white[8:24, 8:24] = 255
    picture = shared.blobs.put(png(opaque))
    found = tasks.run(
        "invert", InvertRequest(model, picture, shared.blobs.put(png(white)), options=QUICK), silent, shared
    )
    side = found.seen.shape[0]
    assert (found.seen[: side // 8] == 255).all()
    with pytest.raises(InvalidRequest, match="one size"):
        mask = shared.blobs.put(png(white[:20]))
        tasks.run("invert", InvertRequest(model, picture, mask, options=QUICK), silent, shared)


@pytest.mark.parametrize("end", ["memory", "cancelled"])
def test_nothing_is_stored_when_memory_runs_out_or_the_user_cancels(
    model: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Workspace("cpu")
    picture = shared.blobs.put(png(block()))
    calls = iter(range(100))

    def image(self: EG3DScene, camera: Any, *, jitter: Any = None) -> Any:
        if next(calls) > 2:
            raise MemoryError
        return whole(self, camera)

    def progress(fraction: float, text: str = "", preview: Any = None, *, figures: Any = None) -> None:
        if text == "Tuning the weights":
            raise Cancelled

    whole = EG3DScene.image
    options = InversionOptions(steps=4, tuning_steps=4, candidates=1)
    if end == "memory":
        monkeypatch.setattr(EG3DScene, "image", image)
    with pytest.raises(OutOfMemory if end == "memory" else Cancelled) as caught:
        report = silent if end == "memory" else progress
        tasks.run("invert", InvertRequest(model, picture, name="mine", options=options), report, shared)
    if end == "memory":
        assert "nothing was changed" in caught.value.message
    assert "mine" not in find_models()


@pytest.mark.parametrize(
    ("data_of", "says"),
    [(lambda: b"no image", "cannot be read"), (lambda: png(block(8)), "only 8 × 8 pixels"),
     (lambda: png(np.zeros((40, 40, 4), np.uint8)), "Nothing is seen")],
    ids=["text", "tiny", "empty"],
)  # fmt: skip
def test_bad_photographs_are_refused(model: str, data_of: Callable[[], bytes], says: str) -> None:
    shared = Workspace("cpu")
    with pytest.raises(UnreadableFile, match=says):
        tasks.run("invert", InvertRequest(model, shared.blobs.put(data_of()), options=QUICK), silent, shared)


def test_the_command_writes_both_images_and_says_what_it_found(
    model: str, backend_command: Any, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(png(block(64)))
    out = tmp_path / "found.png"
    status, text, _ = backend_command(
        "invert",
        model,
        tmp_path / "photo.png",
        "--out",
        out,
        "--steps",
        2,
        "--candidates",
        1,
        "--azimuth",
        10,
        "--json",
    )
    assert status == 0
    found = json.loads(text)
    assert found["model"] == model
    assert len(found["code"]) == 64
    assert found["perceptual"] == "none"
    side = made("eg3d").info.image_size
    with Image.open(out) as image:
        assert image.size == (2 * side, side)
    for wrong in (("--tuning-steps", 3), ("--crop", "1,2"), ("--out", tmp_path / "a.jpg")):
        status, _, error = backend_command("invert", model, tmp_path / "photo.png", "--out", out, *wrong)
        assert status != 0
        assert str(wrong[0]) in error
