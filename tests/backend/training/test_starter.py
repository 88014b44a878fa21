"""A starter made of a training's model folder: card, weights, thumbnail."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from addon.wire.errors import InvalidRequest
from backend.generators.eg3d.model import EG3D
from backend.models.card import read_card
from backend.models.store import read_tensors, save_model
from backend.training.eg3d.common import card, network_config
from backend.training.starter import make_starter

from .coloured_balls import coloured_balls
from .test_eg3d import TINY


def test_a_starter_has_its_own_card_scaled_weights_and_a_picture(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = coloured_balls(side=32)
    network = EG3D(network_config(TINY, data))
    save_model(tmp_path / "model", card(TINY, data, network.config), network.state_dict())
    given = {"label": "Balls", "description": "Balls in colours", "licence": "CC0-1.0", "text": "About **balls**. "}
    scales = {"superresolution.*.to_image.weight": 0.25}
    folder = make_starter(
        tmp_path / "model", tmp_path / "starter", **given, metres_per_unit=0.5, seed=1, azimuth=0.6, scales=scales
    )
    made = read_card(folder)
    assert (made.source, made.label, made.card) == ("starter", "Balls", "About **balls**.\n")
    assert made.pose_prior["default_azimuth"] == 0.6
    assert made.pose_prior["radius"] == pytest.approx(0.5 * data.prior.radius)
    before, after = (read_tensors(f / "model.safetensors", "cpu") for f in (tmp_path / "model", folder))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == [f"superresolution.blocks.{i}.to_image.weight" for i in range(2)]
    assert torch.allclose(after[changed[0]], before[changed[0]] / 4)
    with Image.open(folder / "thumbnail.png") as picture:
        assert picture.size == (256, 256)
    with pytest.raises(InvalidRequest, match="nothing"):
        make_starter(tmp_path / "model", tmp_path, **given, metres_per_unit=1, seed=1, scales={"nothing": 1})
