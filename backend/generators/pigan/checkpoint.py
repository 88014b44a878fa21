"""Official π-GAN checkpoints → our config and weights.

`generator.pth` is the pickled module; `ema.pth` beside it holds the averaged parameters as a list in the order of
`parameters()`, which are the ones to load. Official names are used in this file only: `siren`, `curriculum`, `h_mean`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from addon.wire.errors import UnknownCheckpoint

from ...checkpoints.convert import CheckpointFolder, ConvertedModel, bijection, read_tree, replaced, state_dict
from ...checkpoints.unpickle import Opaque
from .model import PiGAN, PiGANConfig

CLASSES = ("torch_ema.", "siren.", "generators.", "discriminators.")
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "none stated (the official repository carries no licence)"

RENAMED = (
    (r"^siren\.", ""),
    (r"^mapping_network\.network\.(\d+)\.", lambda m: f"mapping_network.layers.{int(m[1]) // 2}."),
    (r"^network\.(\d+)\.layer\.", r"layers.\1."),
    (r"^final_layer\.", "density."),
    (r"^color_layer_sine\.layer\.", "color_layer."),
    (r"^color_layer_linear\.0\.", "color."),
    (r"^spatial_embeddings$", "embedding"),
)
"""Official parameter name → ours, each pattern applied in turn."""

CARLA = {"ray_start": 0.7, "ray_end": 1.3, "fov": 30, "white_back": True, "last_back": False}
"""Official rendering options of networks without a box (TALLSIREN); the others have CelebA's, our defaults."""


def renamed(name: str) -> str:
    """Return our name of an official parameter."""
    return replaced(name, RENAMED)


def config_from_official(
    official_class: str, weights: Mapping[str, Tensor], render: Mapping[str, Any] | None = None
) -> PiGANConfig:
    """Return the config of an official network. Its sizes are those of its tensors.

    Args:
        official_class: text that contains the class name of the official field, such as TALLSIREN.
        weights: official names, starting with `siren.`.
        render: the official curriculum; None takes the one published with this class.
    """
    has_box = "TALLSIREN" not in official_class
    render = ({} if has_box else CARLA) if render is None else render
    default = PiGANConfig()
    embedding = weights.get("siren.spatial_embeddings")
    first = weights["siren.mapping_network.network.0.weight"]
    return PiGANConfig(
        z_dim=first.shape[1],
        hidden_dim=weights["siren.final_layer.weight"].shape[1],
        mapping_dim=first.shape[0],
        mapping_layers=_count(r"siren\.mapping_network\.network\.\d+\.weight", weights) - 1,
        num_layers=_count(r"siren\.network\.\d+\.layer\.weight", weights),
        box_side=default.box_side if has_box else None,
        embedding_channels=0 if embedding is None else embedding.shape[1],
        embedding_size=default.embedding_size if embedding is None else tuple(embedding.shape[2:]),  # type: ignore
        ray_start=float(render.get("ray_start", default.ray_start)),
        ray_end=float(render.get("ray_end", default.ray_end)),
        fov_degrees=float(render.get("fov", default.fov_degrees)),
        num_steps=int(render.get("num_steps", default.num_steps)),
        hierarchical=bool(render.get("hierarchical_sample", True)),
        white_back=bool(render.get("white_back", False)),
        last_back=bool(render.get("eval_last_back", render.get("last_back", default.last_back))),
        clamp="softplus" if render.get("clamp_mode", default.clamp) == "softplus" else "relu",
        image_size=int(render.get("img_size", default.image_size)),
    )


def _count(pattern: str, names: Mapping[str, Any]) -> int:
    return sum(re.fullmatch(pattern, name) is not None for name in names)


def network_from_official(config: PiGANConfig, weights: Mapping[str, Tensor]) -> PiGAN:
    """Return the network with these official weights; every tensor used, every parameter filled."""
    network = PiGAN(config).to(weights["siren.final_layer.weight"].dtype)
    network.load_state_dict(bijection(weights, network.state_dict(), rename=renamed))
    return network.eval().requires_grad_(False)


def _is_field(node: object) -> bool:
    names = state_dict(node)
    return "siren.color_layer_sine.layer.weight" in names and not any("surfacenet" in name for name in names)


def recognise(tree: object) -> bool:
    """Return whether a tree is an official π-GAN: a generator, the averages of one, or a folder with one."""
    if isinstance(tree, CheckpointFolder):
        return any(_is_field(tree[name]) for name in _generators(tree))
    return _is_field(tree) or _is_averaged(tree)


def _is_averaged(node: object) -> bool:
    return isinstance(node, Opaque) and node.name == "ExponentialMovingAverage"


def _generators(folder: CheckpointFolder) -> list[str]:
    return [name for name in folder.matching("*generator.pth") if not name.endswith("/")]


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert a generator, with the averaged parameters beside it where there are some, as its authors load it.

    Raises:
        UnknownCheckpoint: the tensors or the averaged ones do not fit a π-GAN, or only averaged ones are there.
    """
    averaged: object = None
    sources: tuple[Path, ...] = ()
    if isinstance(tree, CheckpointFolder):
        name = next(name for name in _generators(tree) if _is_field(tree[name]))
        averaged = tree.get(name.removesuffix("generator.pth") + "ema.pth")
        tree = tree[name]
    elif path.name.endswith(("generator.pth", "ema.pth")):
        stem = path.name.removesuffix("generator.pth").removesuffix("ema.pth")
        pair = path.with_name(f"{stem}generator.pth"), path.with_name(f"{stem}ema.pth")
        if all(part.is_file() and not part.is_symlink() for part in pair):
            tree, averaged = (tree if part == path else read_tree(part) for part in pair)
            sources = pair
    if _is_averaged(tree):
        raise UnknownCheckpoint(f"{path.name} holds the averaged parameters alone: put generator.pth beside it.")
    weights = state_dict(tree)
    if averaged is not None:
        weights = with_averaged(weights, averaged)
    siren = _child(tree, "siren")
    config = config_from_official(siren.name if siren else "", weights)
    network = network_from_official(config, weights)
    return ConvertedModel(
        kind="pigan",
        constructor=dataclasses.asdict(config),
        tensors=network.state_dict(),
        licence=LICENCE,
        non_commercial=True,
        description="π-GAN: one object class as a radiance field of modulated sine layers",
        pose_prior=_pose_prior(config),
        card=_card(config, averaged is not None, siren is not None),
        sources=sources,
    )


def with_averaged(weights: Mapping[str, Tensor], averaged: object) -> dict[str, Tensor]:
    """Return the weights replaced by an ExponentialMovingAverage's, which lie in the order of `parameters()`.

    Raises:
        UnknownCheckpoint: the number of tensors or a shape differs from the generator's.
    """
    state = averaged.state if isinstance(averaged, Opaque) else averaged
    shadow = state.get("shadow_params") if isinstance(state, Mapping) else None
    if not isinstance(shadow, (list, tuple)) or len(shadow) != len(weights):
        count = len(shadow) if isinstance(shadow, (list, tuple)) else "no"
        raise UnknownCheckpoint(
            f"ema.pth holds {count} averaged tensors, the generator has {len(weights)} parameters: "
            "the two files are not of one training."
        )
    for (name, value), average in zip(weights.items(), shadow, strict=True):
        if value.shape != average.shape:
            raise UnknownCheckpoint(
                f"The averaged tensor for {name} is {list(average.shape)} instead of {list(value.shape)}: "
                "ema.pth and generator.pth are not of one training."
            )
    return dict(zip(weights, shadow, strict=True))


def _child(node: object, name: str) -> Opaque | None:
    if not isinstance(node, Opaque) or not isinstance(node.state, Mapping):
        return None
    child = (node.state.get("_modules") or {}).get(name)
    return child if isinstance(child, Opaque) else None


def _pose_prior(config: PiGANConfig) -> dict[str, Any]:
    if config.box_side is None:  # cars from all around and above
        return {"azimuth": (-math.pi, math.pi), "elevation": (0.0, math.pi / 2), "default_elevation": math.pi / 6}
    return {}


def _card(config: PiGANConfig, averaged: bool, knows_class: bool) -> str:
    lines = [
        "Imported from an official π-GAN checkpoint (arXiv:2012.00926). "
        + ("The averaged parameters (ema.pth) are used." if averaged else "No averaged parameters were beside it.")
    ]
    if not knows_class:
        lines.append("The file does not name its class; a box of side 0.24 (SPATIALSIREN) is assumed.")
    lines.append(
        f"The file does not hold how it was rendered; rays from {config.ray_start:g} to {config.ray_end:g} "
        f"and a field of view of {config.fov_degrees:g}° are assumed."
    )
    return "\n\n".join(lines)
