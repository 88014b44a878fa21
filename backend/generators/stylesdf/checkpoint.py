"""Official StyleSDF checkpoints → our config and weights.

The file is a dictionary; `g_ema` holds the averaged generator. Official names are used in
this file only: `sigma_linear`, `gamma`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from addon.wire.errors import UnknownCheckpoint

from ...checkpoints.convert import ConvertedModel, bijection, replaced, state_dict
from ..layers.stylegan2 import low_pass
from .model import StyleSDF, StyleSDFConfig

CLASSES = ("model.", "volume_renderer.")
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "restrictive, research only (royorel/StyleSDF)"

FILTERS = re.compile(r"\.(blur|upsample)\.kernel$")
"""The low-pass filter stored beside each layer; compared with ours, not loaded."""

IGNORED = {
    "*.blur.kernel": "the low-pass filter",
    "*.upsample.kernel": "the low-pass filter",
    "decoder.conv1.bias": "the official layer never adds it: only the bias of its activation acts",
    "decoder.convs.[0-9].bias": "as decoder.conv1.bias",
    "decoder.convs.[0-9][0-9].bias": "as decoder.conv1.bias",
}

RENAMED = (
    (r"^style\.", "mapping_network."),
    (r"^renderer\.network\.pts_linears\.", "renderer.layers."),
    (r"^renderer\.network\.views_linears\.", "renderer.view_layer."),
    (r"^renderer\.network\.sigma_linear\.", "renderer.distance."),
    (r"^renderer\.network\.rgb_linear\.", "renderer.color."),
    (r"^renderer\.sigmoid_beta$", "renderer.beta"),
    (r"\.gamma\.", ".frequency."),
    (r"\.beta\.", ".phase."),
    (r"^decoder\.style\.(\d+)\.", lambda m: f"decoder.mapping.{int(m[1]) - 1}."),
    (r"^decoder\.noises\.noise_(\d+)$", r"decoder.convs.\1.noise"),
    (r"^decoder\.convs\.(\d+)\.(?!noise$)", lambda m: f"decoder.convs.{int(m[1]) + 1}."),
    (r"^decoder\.conv1\.", "decoder.convs.0."),
    (r"^decoder\.to_rgbs\.(\d+)\.", lambda m: f"decoder.to_images.{int(m[1]) + 1}."),
    (r"^decoder\.to_rgb1\.", "decoder.to_images.0."),
    (r"\.conv\.modulation\.", ".style."),
    (r"\.conv\.weight$", ".weight"),
    (r"\.noise\.weight$", ".noise_strength"),
    (r"\.activate\.bias$", ".bias"),
)
"""Official parameter name → ours, each pattern applied in turn."""

SQUEEZED = re.compile(r"^decoder\.(noises\.noise_\d+|(conv|to_rgb)\w*(\.\d+)?\.(bias|conv\.weight))$")
"""Tensors with axes of length one around them."""


def _trimmed(name: str, value: Tensor) -> Tensor:
    """Return the tensor without the leading axis of a weight, and without the image axes of a bias or noise."""
    if not SQUEEZED.match(name):
        return value
    if name.endswith("conv.weight"):
        return value.squeeze(0)
    return value.reshape(value.shape[2:]) if ".noise_" in name else value.reshape(-1)


def config_from_official(
    weights: Mapping[str, Tensor],
    model: Mapping[str, Any] | None = None,
    rendering: Mapping[str, Any] | None = None,
) -> StyleSDFConfig:
    """Return the config of an official network. Sizes are those of its tensors.

    Args:
        weights: official names.
        model, rendering: the official options; None takes those of the published scripts for images and shapes.
    """
    model, rendering = model or {}, rendering or {}
    default = StyleSDFConfig()
    channels: list[int] = []
    if "decoder.conv1.conv.weight" in weights:
        channels.append(weights["decoder.conv1.conv.weight"].shape[1])
        while (up := f"decoder.convs.{2 * len(channels) - 2}.conv.weight") in weights:
            channels.append(weights[up].shape[1])
    thumbnail = weights["decoder.noises.noise_0"].shape[-1] if channels else default.thumbnail_size
    decoder_style = weights["decoder.style.1.weight"].shape[0] if channels else default.decoder_style_dim
    return StyleSDFConfig(
        style_dim=weights["renderer.network.sigma_linear.weight"].shape[1],
        mapping_layers=_count(r"style\.\d+\.weight", weights),
        num_layers=_count(r"renderer\.network\.pts_linears\.\d+\.weight", weights),
        use_sdf="renderer.sigmoid_beta" in weights,
        static_directions=bool(rendering.get("static_viewdirs", default.static_directions)),
        normalize_points=not rendering.get("no_z_normalize", False),
        left_edges=bool(rendering.get("offset_sampling", not rendering.get("no_offset_sampling", False))),
        force_background=bool(rendering.get("force_background", default.force_background)),
        num_samples=int(rendering.get("N_samples", default.num_samples)),
        thumbnail_size=thumbnail,
        image_size=thumbnail * 2 ** (len(channels) - 1) if channels else thumbnail,
        decoder_channels=tuple(channels),
        decoder_style_dim=decoder_style,
        decoder_mapping_layers=_count(r"decoder\.style\.\d+\.weight", weights),
        mapping_lr=float(model.get("lr_mapping", default.mapping_lr)),
    )


def _count(pattern: str, names: Mapping[str, Any]) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in names)


def network_from_official(config: StyleSDFConfig, weights: Mapping[str, Tensor]) -> StyleSDF:
    """Return the network with these official weights; every tensor used, every parameter filled."""
    for name, value in weights.items():
        gain = 4.0  # the official filters make up for the zeros of the doubling
        if FILTERS.search(name) and not (value.float().cpu() - low_pass() * gain).abs().max() < 1e-6:
            raise UnknownCheckpoint(f"{name} is another low-pass filter than StyleSDF's")
    network = StyleSDF(config).to(weights["renderer.network.sigma_linear.weight"].dtype)
    trimmed = {name: _trimmed(name, value) for name, value in weights.items()}
    network.load_state_dict(
        bijection(trimmed, network.state_dict(), rename=partial(replaced, patterns=RENAMED), ignored=IGNORED)
    )
    return network.eval().requires_grad_(False)


def _generator(tree: object) -> dict[str, Tensor]:
    """Return the averaged generator of a tree; empty if it is not a StyleSDF."""
    if not isinstance(tree, Mapping):
        return {}
    for node in (tree.get("g_ema"), tree.get("g"), tree):
        weights = state_dict(node)
        if "renderer.network.sigma_linear.weight" in weights and "style.0.weight" in weights:
            return weights
    return {}


def recognise(tree: object) -> bool:
    """Return whether a tree is an official StyleSDF checkpoint."""
    return bool(_generator(tree))


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert a checkpoint, taking `g_ema` where it is there.

    Raises:
        UnknownCheckpoint: the tensors do not fit a StyleSDF.
    """
    weights = _generator(tree)
    if not weights:
        raise UnknownCheckpoint(f"{path.name} holds no StyleSDF generator: no renderer with sigma_linear.")
    config = config_from_official(weights)
    network = network_from_official(config, weights)
    return ConvertedModel(
        kind="stylesdf",
        constructor=dataclasses.asdict(config),
        tensors=network.state_dict(),
        licence=LICENCE,
        non_commercial=True,
        description="StyleSDF: one object class as a signed distance field, with a style-based upsampler",
        pose_prior={"azimuth": (-2 * 0.3, 2 * 0.3), "elevation": (-2 * 0.15, 2 * 0.15)},
        card=(
            "Imported from an official StyleSDF checkpoint (arXiv:2112.11427).\n\n"
            f"The file does not hold how it was rendered; {config.num_samples} samples over "
            f"±{config.half_depth:g} around the origin and a field of view of {config.fov_degrees:g}° are assumed "
            f"({math.degrees(0.3):.0f}° is the spread of the training azimuths)."
        ),
    )
