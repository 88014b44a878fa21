"""Scene files of radiance fields with an edited card: an error, without the memory or time that the card claims."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from addon.wire.errors import UnreadableModel
from backend.kernels.hash_encoding import HashSpec
from backend.models.card import ModelCard
from backend.models.scene_file import load_scene, save_scene
from backend.nerf.hash.field import HashField, HashFieldConfig
from backend.nerf.hash.scene import HashScene
from backend.nerf.mlp import network, scene
from backend.scenes.protocol import FieldInfo


def hash_scene() -> HashScene:
    config = HashFieldConfig((-1.0, -1.0, -1.0), 2.0, HashSpec(4, 2, 8, 4, 16), hidden=16)
    table = torch.zeros(config.table.num_entries, 2)
    networks = torch.zeros(config.networks.num_parameters)
    return HashScene(HashField(config, table, networks, torch.ones(8, 8, 8, dtype=torch.bool)))


def published_scene() -> scene.NeRFScene:
    config = network.NetworkConfig(depth=2, width=8, bottleneck=8, view_width=8, skips=())
    nerf = network.NeRF(config, config, network.RenderConfig())
    return scene.NeRFScene(nerf, FieldInfo("density", 5.0, ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))))


def write(path: Path, scene: Any, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    kind, constructor, tensors = scene.tensors()
    constructor, tensors = json.loads(json.dumps(constructor)), copy.copy(tensors)
    change(constructor, tensors)
    card = ModelCard(kind, "a", "", "", False, constructor)
    save_scene(path, card, tensors)


def put(*keys: str, value: Any) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    def change(constructor: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        for key in keys[:-1]:
            constructor = constructor[key]
        constructor[keys[-1]] = value

    return change


def tensor(name: str, value: torch.Tensor | None) -> Callable[[dict[str, Any], dict[str, torch.Tensor]], None]:
    def change(constructor: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        tensors.pop(name)
        if value is not None:
            tensors[name] = value

    return change


HASH = {
    "levels": put("table", "num_levels", value=10**9),
    "size": put("table", "log2_size", value=60),
    "finest": put("table", "finest", value=10**12),
    "features": put("table", "num_features", value=3),
    "hidden": put("hidden", value=10**8),
    "side nought": put("side", value=0.0),
    "side below": put("side", value=-1.0),
    "step nought": put("step", value=0.0),
    "step tiny": put("step", value=1e-30),
    "step is text": put("step", value="fast"),
    "corner short": put("low", value=[0.0, 1.0]),
    "corner nan": put("low", value=[math.nan, 0.0, 0.0]),
    "bounds endless": put("bounds", value=[[0.0, 0.0, 0.0], [math.inf, 1.0, 1.0]]),
    "unknown": put("run", value="rm"),
    "table shorter": tensor("table", torch.zeros(7, 2)),
    "networks shorter": tensor("networks", torch.zeros(7)),
    "grid odd": tensor("occupied", torch.zeros(13, dtype=torch.uint8)),
    "grid missing": tensor("occupied", None),
}
PUBLISHED = {
    "width": put("coarse", "width", value=10**6),
    "depth": put("fine", "depth", value=10**6),
    "four gigabytes": put("fine", "width", value=4096),
    "frequencies": put("coarse", "position_frequencies", value=10**6),
    "samples": put("render", "coarse_samples", value=10**9),
    "near": put("render", "near", value=7.0),
    "unknown": put("render", "run", value="rm"),
}


@pytest.mark.parametrize("how", HASH)
def test_an_edited_hash_field_is_a_sentence(tmp_path: Path, how: str) -> None:
    refused(tmp_path, hash_scene(), HASH[how])


@pytest.mark.parametrize("how", PUBLISHED)
def test_an_edited_published_field_is_a_sentence(tmp_path: Path, how: str) -> None:
    refused(tmp_path, published_scene(), PUBLISHED[how])


def refused(folder: Path, scene: Any, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    path = folder / "a.safetensors"
    write(path, scene, lambda *_: None)
    load_scene(path)
    write(path, scene, change)
    before, started = psutil.Process().memory_info().rss, time.process_time()
    with pytest.raises(UnreadableModel):
        load_scene(path)
    assert psutil.Process().memory_info().rss - before < 64 << 20
    assert time.process_time() - started < 2
