"""Official ShadeGAN checkpoints → our config and weights.

The file is a bare state dict. Official names are used in this file only: `siren`, `surfacenet`, `curriculum`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...checkpoints.convert import ConvertedModel, bijection, state_dict
from ..pigan.checkpoint import renamed as renamed_field
from .model import LIGHT_DIM, ShadeGAN, ShadeGANConfig, SurfaceConfig

CLASSES = ("siren.", "generators.", "discriminators.")
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "none stated (the official repository's terms were not at hand)"

FIRST_BLOCK = 10
"""Place of the first residual block in the official sequence of the surface network."""


def config_from_official(
    weights: Mapping[str, Tensor],
    constructor: Mapping[str, Any] | None = None,
    render: Mapping[str, Any] | None = None,
) -> ShadeGANConfig:
    """Return the config of an official network. Its sizes are those of its tensors.

    Args:
        weights: official names.
        constructor: the official arguments, such as `shading`; None shades, and the rest follows from the tensors.
        render: the official curriculum; None takes the published one.
    """
    constructor, render = constructor or {}, render or {}
    default = ShadeGANConfig()
    hidden = weights["siren.final_layer.weight"].shape[1]
    extra = weights["siren.color_layer_sine.layer.weight"].shape[1] - hidden
    conditions = {0: (False, False), 3: (True, False), LIGHT_DIM: (False, True), 3 + LIGHT_DIM: (True, True)}
    if extra not in conditions:
        raise ValueError(f"the colour layer takes {extra} features beside the field's: neither direction nor light")
    view_condition, light_condition = conditions[extra]
    first = weights["siren.mapping_network.network.0.weight"]
    return ShadeGANConfig(
        z_dim=first.shape[1],
        hidden_dim=hidden,
        mapping_dim=first.shape[0],
        mapping_layers=_count(r"siren\.mapping_network\.network\.\d+\.weight", weights) - 1,
        num_layers=_count(r"siren\.network\.\d+\.layer\.weight", weights),
        shading=bool(constructor.get("shading", default.shading)),
        view_condition=view_condition,
        light_condition=light_condition,
        surface=_surface_config(weights, render),
        ray_start=float(render.get("ray_start", default.ray_start)),
        ray_end=float(render.get("ray_end", default.ray_end)),
        fov_degrees=float(render.get("fov", default.fov_degrees)),
        num_steps=int(render.get("num_steps", default.num_steps)),
        white_back=bool(render.get("white_back", False)),
        last_back=bool(render.get("eval_last_back", render.get("last_back", default.last_back))),
        clamp="softplus" if render.get("clamp_mode", default.clamp) == "softplus" else "relu",
        image_size=int(render.get("img_size", default.image_size)),
    )


def _count(pattern: str, names: Mapping[str, Any]) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in names)


def _num_blocks(weights: Mapping[str, Tensor]) -> int:
    return _count(r"surfacenet\.network\.\d+\.conv1\.weight", weights)


def _surface_config(weights: Mapping[str, Tensor], render: Mapping[str, Any]) -> SurfaceConfig | None:
    if "surfacenet.linear.weight" not in weights:
        return None
    blocks = [weights[f"surfacenet.network.{FIRST_BLOCK + i}.conv1.weight"] for i in range(_num_blocks(weights))]
    return SurfaceConfig(
        (weights["surfacenet.linear.weight"].shape[0], *(block.shape[0] for block in blocks)),
        num_steps=int(render.get("num_steps_min", SurfaceConfig.num_steps)),
        delta=float(render.get("delta_min", SurfaceConfig.delta)),
    )


def renamer(num_blocks: int) -> Callable[[str], str]:
    """Return the function from official names to ours, for a surface network of `num_blocks` residual blocks."""

    def renamed(name: str) -> str:
        match = re.match(r"surfacenet\.(linear|network\.(\d+))\.(.*)", name)
        if match is None:
            return renamed_field(name)
        if match[1] == "linear":
            return f"surface.linear.{match[3]}"
        place, rest = int(match[2]), match[3]
        if place < FIRST_BLOCK:
            return f"surface.stem.{place}.{rest}"
        if place < FIRST_BLOCK + num_blocks:
            rest = rest.replace("gn", "norm").replace("conv_sc", "shortcut")
            return f"surface.blocks.{place - FIRST_BLOCK}.{rest}"
        return f"surface.{'norm' if place == FIRST_BLOCK + num_blocks else 'out'}.{rest}"

    return renamed


def network_from_official(config: ShadeGANConfig, weights: Mapping[str, Tensor]) -> ShadeGAN:
    """Return the network with these official weights; every tensor used, every parameter filled."""
    network = ShadeGAN(config).to(weights["siren.final_layer.weight"].dtype)
    network.load_state_dict(bijection(weights, network.state_dict(), rename=renamer(_num_blocks(weights))))
    return network.eval().requires_grad_(False)


def recognise(tree: object) -> bool:
    """Return whether a tree is an official ShadeGAN: a π-GAN field with a light or a surface network."""
    weights = state_dict(tree)
    if "siren.color_layer_sine.layer.weight" not in weights or "siren.final_layer.weight" not in weights:
        return False
    extra = weights["siren.color_layer_sine.layer.weight"].shape[1] - weights["siren.final_layer.weight"].shape[1]
    return "surfacenet.linear.weight" in weights or extra in (0, LIGHT_DIM, 3 + LIGHT_DIM)


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert a state dict.

    Raises:
        UnknownCheckpoint: the tensors do not fit a ShadeGAN.
    """
    weights = state_dict(tree)
    config = config_from_official(weights)
    network = network_from_official(config, weights)
    return ConvertedModel(
        kind="shadegan",
        constructor=dataclasses.asdict(config),
        tensors=network.state_dict(),
        licence=LICENCE,
        non_commercial=True,
        description="ShadeGAN: one object class as a radiance field of albedo, relit with its own normals",
        card=(
            "Imported from an official ShadeGAN checkpoint (arXiv:2110.15678).\n\n"
            f"The file does not hold how it was rendered; rays from {config.ray_start:g} to {config.ray_end:g} and a "
            f"field of view of {config.fov_degrees:g}° are assumed."
        ),
    )
