"""Official GRAF checkpoints → our config and weights.

The file is a dictionary; `generator_test` holds the averaged weights that its authors evaluate. Official names
are used in this file only: `pts_linears`, `views_linears`, `multires`.
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
from .model import GRAF, GRAFConfig

CLASSES = ("graf.", "submodules.")
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "MIT (autonomousvision/graf)"

RENAMED = (
    (r"^generator\.", ""),
    (r"^pts_linears\.", "layers."),
    (r"^views_linears\.0\.", "color_layer."),
    (r"^feature_linear\.", "bottleneck."),
    (r"^alpha_linear\.", "density."),
    (r"^rgb_linear\.", "color."),
)
"""Official parameter name → ours, each pattern applied in turn."""


def config_from_official(weights: Mapping[str, Tensor], official: Mapping[str, Any] | None = None) -> GRAFConfig:
    """Return the config of an official network.

    Args:
        weights: names without the prefix `generator.`.
        official: the official configuration (sections data, nerf, z_dist); None takes the published one for cars.

    Raises:
        ValueError: an option that this model does not have.
    """
    official = official or {}
    data, nerf, z_dist = (official.get(section, {}) for section in ("data", "nerf", "z_dist"))
    if not nerf.get("use_viewdirs", True) or nerf.get("N_importance", 0):
        raise ValueError("GRAF without viewing directions, or with a second network, is not supported")
    if data.get("orthographic", False):
        raise ValueError("GRAF trained with orthographic cameras is not supported")
    default = GRAFConfig()
    point_frequencies = int(nerf.get("multires", default.point_frequencies))
    direction_frequencies = int(nerf.get("multires_views", default.direction_frequencies))
    width, point_features = weights["pts_linears.0.weight"].shape
    shape_dim = point_features - 3 - 6 * point_frequencies
    appearance_dim = weights["views_linears.0.weight"].shape[1] - width - 3 - 6 * direction_frequencies
    if shape_dim < 0 or appearance_dim < 0:
        raise ValueError(
            f"the layers take {shape_dim} shape and {appearance_dim} appearance features: not this encoding"
        )
    return GRAFConfig(
        z_dim=int(z_dist.get("dim", shape_dim + appearance_dim)),
        appearance_dim=appearance_dim,
        num_layers=sum(re.fullmatch(r"pts_linears\.\d+\.weight", name) is not None for name in weights),
        hidden_dim=width,
        point_frequencies=point_frequencies,
        direction_frequencies=direction_frequencies,
        near=float(data.get("near", default.near)),
        far=float(data.get("far", default.far)),
        radius=_radius(data.get("radius", default.radius)),
        num_samples=int(nerf.get("N_samples", default.num_samples)),
        white_background=bool(data.get("white_bkgd", default.white_background)),
        fov_degrees=float(data.get("fov", default.fov_degrees)),
        image_size=int(data.get("imsize", default.image_size)),
    )


def _radius(value: Any) -> tuple[float, float]:
    """Return the smallest and largest radius of a number, a pair or text such as "9.5,10.5"."""
    if isinstance(value, str):
        value = [float(part) for part in value.split(",")]
    if isinstance(value, (int, float)):
        value = (value, value)
    return float(value[0]), float(value[-1])


def network_from_official(config: GRAFConfig, weights: Mapping[str, Tensor]) -> GRAF:
    """Return the network with these official weights; every tensor used, every parameter filled."""
    network = GRAF(config).to(weights["alpha_linear.weight"].dtype)
    network.load_state_dict(bijection(weights, network.state_dict(), rename=partial(replaced, patterns=RENAMED)))
    return network.eval().requires_grad_(False)


def _generator(tree: object) -> dict[str, Tensor]:
    """Return the weights to evaluate, without a prefix; empty if the tree is not a GRAF."""
    if not isinstance(tree, Mapping):
        return {}
    for name in ("generator_test", "generator", None):
        weights = state_dict(tree if name is None else tree.get(name))
        weights = {re.sub(r"^(module\.)?(generator\.|network_fn\.)?", "", key): value for key, value in weights.items()}
        if {"pts_linears.0.weight", "views_linears.0.weight", "alpha_linear.weight"} <= weights.keys():
            return weights
    return {}


def recognise(tree: object) -> bool:
    """Return whether a tree is an official GRAF checkpoint."""
    if not isinstance(tree, Mapping) or not ("generator" in tree or "generator_test" in tree):
        return False
    return bool(_generator(tree))


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert a checkpoint, taking `generator_test` where it is there.

    Raises:
        UnknownCheckpoint: the tensors do not fit a GRAF.
    """
    weights = _generator(tree)
    if not weights:
        raise UnknownCheckpoint(f"{path.name} holds no GRAF generator: no pts_linears, views_linears and alpha_linear.")
    config = config_from_official(weights)
    network = network_from_official(config, weights)
    return ConvertedModel(
        kind="graf",
        constructor=dataclasses.asdict(config),
        tensors=network.state_dict(),
        licence=LICENCE,
        non_commercial=False,
        description="GRAF: one object class as a radiance field with codes for shape and appearance",
        pose_prior={"elevation": (0.0, math.asin(0.912844)), "default_elevation": math.asin(0.4)},
        card=(
            "Imported from an official GRAF checkpoint (arXiv:2007.02442).\n\n"
            f"The file does not hold how it was rendered; depths from {config.near:g} to {config.far:g}, a camera at "
            f"{config.radius[1]:g} and a white background are assumed, as published for cars."
        ),
    )
