"""Official EditNeRF checkpoints → our config and weights.

    1000000.tar              {network_fn_state_dict, network_fine_state_dict, styles, …}
    args.txt, config.txt     beside it: how it was trained, lines `name = value`

Official names are used in this file only: `mean_network`, `style_linears`, `sigma_linear`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from addon.wire.errors import UnknownCheckpoint

from ...checkpoints.convert import ConvertedModel, bijection, replaced, state_dict
from ...nerf.mlp.checkpoint import options_beside
from .codes import fit_gaussian, rank_of
from .model import ConditionalField, EditNeRF, EditNeRFConfig

LICENCE = "MIT (stevliu/editnerf); data of its own terms"

RENAMED = (
    (r"^module\.", ""),
    (r"^mean_network\.0\.(weight|bias)", r"shared.0.\1"),
    (r"^mean_network\.(\d+)\.1\.", r"shared.\1."),
    (r"^mean_output\.1\.", "shared_output."),
    (r"^instance_network\.(\d+)\.0\.", r"instance.\1."),
    (r"^instance_to_fusion\.", "instance_output."),
    (r"^fusion_network\.(\d+)\.0\.", r"fusion.\1."),
    (r"^sigma_linear\.", "density."),
    (r"^bottleneck_linear\.", "bottleneck."),
    (r"^rgb_network\.(\d+)\.0\.", r"color_layers.\1."),
    (r"^rgb_linear\.", "color."),
    # a ReLU stands between two layers
    (r"^style_linears\.(\d+)\.mlp\.(\d+)\.", lambda m: f"embeddings.{m[1]}.{int(m[2]) // 2}."),
)
"""Official parameter name → ours, each pattern applied in turn."""

rename = partial(replaced, patterns=RENAMED)


def config_from_official(
    weights: Mapping[str, Tensor], styles: Tensor, options: Mapping[str, Any] | None = None
) -> EditNeRFConfig:
    """Return the config of an official pair of networks.

    Args:
        weights: of the fine network.
        styles: [instances, shape and colour code].
        options: official options, by name; what they leave out is as published.

    Raises:
        ValueError: an option that this model does not have.
    """
    options = options or {}
    if "mean_network.0.weight" not in weights:
        raise ValueError("EditNeRF without a shared shape branch (shared_shape) is not supported")

    def depth(pattern: str) -> int:
        return sum(re.fullmatch(pattern + r"\.weight", name) is not None for name in weights)

    default = EditNeRFConfig()
    shared_width, encoded = weights["mean_network.0.weight"].shape
    embedding_dim, shape_dim = weights["style_linears.0.mlp.0.weight"].shape
    color_dim = weights["style_linears.2.mlp.0.weight"].shape[1]
    if styles.shape[-1] != shape_dim + color_dim:
        raise ValueError(
            f"styles of {styles.shape[-1]} are not a shape code of {shape_dim} and a colour of {color_dim}"
        )
    bottleneck = weights["bottleneck_linear.weight"].shape[0]
    color_width, color_inputs = weights["rgb_network.0.0.weight"].shape
    return EditNeRFConfig(
        shape_dim=shape_dim,
        color_dim=color_dim,
        embedding_dim=embedding_dim,
        embedding_layers=depth(r"style_linears\.0\.mlp\.\d+"),
        shared_layers=depth(r"mean_network\.0") + depth(r"mean_network\.\d+\.1"),
        shared_width=shared_width,
        instance_layers=depth(r"instance_network\.\d+\.0"),
        instance_width=weights["instance_network.0.0.weight"].shape[0],
        fusion_layers=depth(r"fusion_network\.\d+\.0"),
        fusion_width=weights["sigma_linear.weight"].shape[1],
        bottleneck=bottleneck,
        color_layers=depth(r"rgb_network\.\d+\.0"),
        color_width=color_width,
        point_frequencies=(encoded - 3) // 6,
        direction_frequencies=(color_inputs - bottleneck - embedding_dim - 3) // 6,
        near=float(options.get("blender_near", default.near)),
        far=float(options.get("blender_far", default.far)),
        num_samples=int(options.get("N_samples", default.num_samples)),
        num_fine=int(options.get("N_importance", default.num_fine)),
        white_background=str(options.get("white_bkgd", True)) in ("True", "1"),
        num_codes=len(styles),
        rank=(rank_of(len(styles), shape_dim), rank_of(len(styles), color_dim)),
    )


def network_from_official(
    config: EditNeRFConfig, coarse: Mapping[str, Tensor], fine: Mapping[str, Tensor], styles: Tensor
) -> EditNeRF:
    """Return the networks with these official weights and codes; every tensor used, every parameter filled."""
    network = EditNeRF(config).to(styles.dtype)
    for field, weights in ((network.coarse, coarse), (network.fine, fine)):
        assert isinstance(field, ConditionalField)
        field.load_state_dict(bijection(weights, field.state_dict(), rename=rename))
    network.codes.copy_(ws_of_styles(config, styles))
    fit_gaussian(network)
    return network.eval().requires_grad_(False)


def ws_of_styles(config: EditNeRFConfig, styles: Tensor) -> Tensor:
    """Return ws [..., 2, w_dim] of official styles [..., shape_dim + color_dim]: the first half is the shape code."""
    rows = styles.split((config.shape_dim, config.color_dim), -1)
    return torch.stack([torch.nn.functional.pad(row, (0, config.w_dim - row.shape[-1])) for row in rows], -2)


def recognise(tree: object) -> bool:
    """Return whether a tree is an official EditNeRF checkpoint."""
    if not isinstance(tree, Mapping):
        return False
    network = tree.get("network_fn_state_dict")
    return isinstance(network, Mapping) and any("style_linears." in str(name) for name in network)


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert a checkpoint. The depths are read from the `args.txt` or `config.txt` beside it.

    Raises:
        UnknownCheckpoint: the tensors do not fit EditNeRF, or a part is missing.
    """
    assert isinstance(tree, Mapping)
    coarse, fine = (state_dict(tree.get(f"network_{name}_state_dict")) for name in ("fn", "fine"))
    styles = tree.get("styles")
    if not fine or not isinstance(styles, Tensor):
        missing = "styles" if fine else "network_fine_state_dict"
        raise UnknownCheckpoint(f"{path.name} holds no {missing}: it is not a whole EditNeRF checkpoint.")
    if styles.ndim != 2 or not torch.isfinite(styles).all():
        raise UnknownCheckpoint(f"The styles of {path.name} are not finite codes of instances.")
    options = options_beside(path.parent)
    config = config_from_official(fine, styles, options)
    network = network_from_official(config, coarse, fine, styles)
    assumed = "are those of the file beside it" if options else "are assumed, the file does not hold them"
    return ConvertedModel(
        kind="editnerf",
        constructor=dataclasses.asdict(config),
        tensors=network.state_dict(),
        licence=LICENCE,
        non_commercial=False,
        description="EditNeRF: one class of objects as a radiance field with a shape and a colour code for each",
        pose_prior={"elevation": (0.0, math.pi / 2), "default_elevation": math.pi / 8},
        card=(
            "Imported from an official EditNeRF checkpoint (arXiv:2105.06466).\n\n"
            f"{config.num_codes} instances. Depths from {config.near:g} to {config.far:g} and "
            f"{config.num_samples} + {config.num_fine} samples {assumed}. New codes are drawn from Gaussians fitted "
            "to those of the instances."
        ),
    )
