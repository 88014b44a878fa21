"""The starter model is what its card says: small, seen from the front, and turned the way the camera goes."""

from __future__ import annotations

import math

import torch

from backend.cameras import from_wire, orbit
from backend.generators.hologan.scene import HoloGAN
from backend.models.card import read_card
from backend.models.library import load_model
from backend.models.store import model_folder


def _model() -> HoloGAN:
    model = load_model(model_folder("hologan_chairs"))
    assert isinstance(model, HoloGAN)
    return model


def test_it_is_small_and_its_card_has_data_recipe_and_figures() -> None:
    folder = model_folder("hologan_chairs")
    assert (folder / "model.safetensors").stat().st_size < 12e6
    card = read_card(folder)
    assert card.source == "starter" and not card.non_commercial and card.background == "white"
    for part in ("**Data.**", "**Recipe.**", "**Figures**", "**Weak.**"):
        assert part in card.card
    assert (folder / "thumbnail.png").is_file()


def test_it_shows_objects_on_white_that_differ_by_seed_and_by_view() -> None:
    model = _model()
    pictures = {}
    for seed in (1, 2):
        scene = model.synthesize(model.mapping(model.sample_z(seed))[0])
        for azimuth in (-0.8, 0.8):
            with torch.no_grad():
                image = scene.render(from_wire(orbit(model.info, 64, azimuth=azimuth)))
            assert image.note == "" and (image.alpha == 1).all()
            border = torch.cat((image.rgb[:4].flatten(0, 1), image.rgb[-2:].flatten(0, 1)))
            assert border.mean() > 0.9 and image.rgb[20:50, 20:44].mean() < 0.8
            pictures[seed, azimuth] = image.rgb
    assert (pictures[1, 0.8] - pictures[2, 0.8]).abs().mean() > 0.02
    assert (pictures[1, 0.8] - pictures[1, -0.8]).abs().mean() > 0.05


def test_from_the_right_the_seat_is_to_the_left_of_the_back() -> None:
    """The front faces -Y, which a camera on the +X side sees to the left: seats are in front of backs."""
    model = _model()
    offsets = []
    for seed in range(8):
        scene = model.synthesize(model.mapping(model.sample_z(seed))[0])
        with torch.no_grad():
            dark = 1 - scene.render(from_wire(orbit(model.info, 64, azimuth=math.radians(55)))).rgb.mean(-1)
        columns = torch.arange(64.0)
        back, seat = dark[8:24].sum(0), dark[30:38].sum(0)
        offsets.append(float((seat * columns).sum() / seat.sum() - (back * columns).sum() / back.sum()))
    assert sum(offsets) / len(offsets) < -2
