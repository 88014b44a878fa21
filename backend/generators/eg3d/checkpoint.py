"""Official EG3D checkpoints → our config and weights.

Official vocabulary ends here: `backbone.synthesis`, `cam2world`, `c`, string dictionaries.
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
from ...checkpoints.unpickle import Opaque
from ..layers.stylegan2 import BINOMIAL, low_pass
from .model import (
    EG3D,
    SUPERRESOLUTIONS,
    BackboneConfig,
    EG3DConfig,
    MappingConfig,
    RenderingConfig,
    SuperresolutionConfig,
)

CLASSES = ("torch_utils.", "training.", "dnnlib.util.")
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "NVIDIA Source Code License for EG3D: non-commercial research and evaluation only"

IGNORED = {"*resample_filter": "the low-pass filter stored beside each layer is that of the constructor"}

FILTER = re.compile(r"^backbone\.synthesis\.b\d+\.(conv0\.|skip\.)?resample_filter$")
"""The stored filters that are used; every layer has one, of its class's default."""

RENAMED = (
    (r"^backbone\.mapping\.w_avg$", "mapping_network.w_mean"),
    (r"^backbone\.mapping\.fc(\d+)\.", r"mapping_network.layers.\1."),
    (r"^backbone\.mapping\.", "mapping_network."),
    (r"^backbone\.synthesis\.(b\d+)\.", r"backbone.blocks.\1."),
    (r"^superresolution\.block(\d)\.", r"superresolution.blocks.\1."),
    (r"^decoder\.net\.0\.", "decoder.hidden."),
    (r"^decoder\.net\.2\.", "decoder.out."),
    (r"\.torgb\.", ".to_image."),
    (r"\.skip\.", ".shortcut."),
    (r"\.noise_const$", ".noise"),
)
"""Official parameter name → ours, each pattern applied in turn."""


def config_from_official(kwargs: Mapping[str, Any], weights: Mapping[str, Tensor]) -> EG3DConfig:
    """Our config of the constructor arguments of `TriPlaneGenerator`.

    Widths that the official constructors hold as constants are read from the tensors, so that a fork with other
    constants loads too.

    Raises:
        ValueError: an argument has a value this model does not have.
    """
    kwargs = dict(kwargs)
    rendering = dict(kwargs.pop("rendering_kwargs"))
    mapping = dict(kwargs.pop("mapping_kwargs", {}))
    sr = dict(kwargs.pop("sr_kwargs", {}))
    if rendering.get("clamp_mode", "softplus") != "softplus":
        raise ValueError(f"clamp_mode must be softplus, got {rendering['clamp_mode']!r}")
    condition_dim = int(kwargs["c_dim"])
    zeroed = bool(rendering.get("c_gen_conditioning_zero", False))
    auto = rendering["ray_start"] == "auto"
    decoder_width, plane_features = weights["decoder.net.0.weight"].shape
    return EG3DConfig(
        z_dim=int(kwargs["z_dim"]),
        condition_dim=condition_dim,
        w_dim=int(kwargs["w_dim"]),
        plane_features=plane_features,
        decoder_width=decoder_width,
        decoder_lr_multiplier=float(rendering.get("decoder_lr_mul", 1)),
        condition_scale=0.0 if zeroed else float(rendering.get("c_scale", 0)),
        mapping=MappingConfig(
            num_layers=int(mapping.get("num_layers", 8)),
            embed_features=mapping.get("embed_features"),
            layer_features=mapping.get("layer_features"),
            activation=mapping.get("activation", "lrelu"),
            lr_multiplier=float(mapping.get("lr_multiplier", 0.01)),
        ),
        backbone=BackboneConfig(
            resolution=max(int(name) for name in _found(r"^backbone\.synthesis\.b(\d+)\.", weights)),
            channel_base=int(kwargs.get("channel_base", 32768)),
            channel_max=int(kwargs.get("channel_max", 512)),
            architecture=kwargs.get("architecture", "skip"),
            kernel_size=int(kwargs.get("kernel_size", 3)),
            activation=kwargs.get("activation", "lrelu"),
            conv_clamp=kwargs.get("conv_clamp", 256),
            use_noise=bool(kwargs.get("use_noise", True)),
            taps=tuple(kwargs.get("resample_filter", BINOMIAL)),
        ),
        superresolution=_superresolution(rendering, sr, int(kwargs.get("sr_num_fp16_res", 0)), weights),
        rendering=RenderingConfig(
            ray_start=None if auto else float(rendering["ray_start"]),
            ray_end=None if auto else float(rendering["ray_end"]),
            box_warp=float(rendering["box_warp"]),
            depth_resolution=int(rendering["depth_resolution"]),
            depth_resolution_importance=int(rendering["depth_resolution_importance"]),
            disparity_space_sampling=bool(rendering.get("disparity_space_sampling", False)),
            white_back=bool(rendering.get("white_back", False)),
            camera_radius=float(rendering.get("avg_camera_radius", 2.7)),
        ),
    )


def _superresolution(
    rendering: Mapping[str, Any], sr: Mapping[str, Any], num_fp16: int, weights: Mapping[str, Tensor]
) -> SuperresolutionConfig:
    name = str(rendering["superresolution_module"]).rpartition(".")[2]
    if name not in SUPERRESOLUTIONS:
        raise ValueError(f"superresolution module must be one of {', '.join(SUPERRESOLUTIONS)}, got {name!r}")
    config = SUPERRESOLUTIONS[name]
    first = weights["superresolution.block0.conv1.weight"]
    second = weights["superresolution.block1.conv1.weight"]
    noise = weights.get("superresolution.block0.conv1.noise_const")
    resolution = noise.shape[-1] if noise is not None else config.resolutions[0]
    return dataclasses.replace(
        config,
        input_resolution=resolution // 2 if config.first_up else resolution,
        channels=(first.shape[0], second.shape[0]),
        # The official module clamps its convolutions exactly where it would use half precision.
        conv_clamp=256.0 if num_fp16 > 0 else None,
        antialias=config.antialias and bool(rendering.get("sr_antialias", True)),
        use_noise=noise is not None,
        # Random noise would flicker from frame to frame; the stored noise is its still counterpart.
        noise="none" if rendering.get("superresolution_noise_mode", "none") == "none" else "const",
        kernel_size=first.shape[-1],
        activation=sr.get("activation", "lrelu"),
        taps=tuple(sr.get("resample_filter", BINOMIAL)),
    )


def _found(pattern: str, names: Mapping[str, Any]) -> list[str]:
    return [match[1] for match in map(re.compile(pattern).match, names) if match]


def network_from_official(kwargs: Mapping[str, Any], weights: Mapping[str, Tensor]) -> EG3D:
    """The network with these constructor arguments and official weights; every tensor is used, every parameter filled.

    Raises:
        UnknownCheckpoint: tensors are missing, left over, or of another shape.
        ValueError: the constructor arguments are of no EG3D.
    """
    config = config_from_official(kwargs, weights)
    for name, value in weights.items():
        if FILTER.search(name) and not torch.equal(value.float().cpu(), low_pass(config.backbone.taps)):
            raise UnknownCheckpoint(f"{name} is another low-pass filter than the constructor's.")
    network = EG3D(config).to(weights["decoder.net.0.weight"].dtype)
    network.load_state_dict(
        bijection(weights, network.state_dict(), rename=partial(replaced, patterns=RENAMED), ignored=IGNORED)
    )
    return network.eval().requires_grad_(False)


def recognise(tree: object) -> bool:
    """Say whether a tree is a training snapshot of EG3D."""
    averaged = tree.get("G_ema") if isinstance(tree, Mapping) else None
    if not isinstance(averaged, Opaque) or not isinstance(averaged.state, Mapping):
        return False
    return {"backbone", "decoder", "superresolution"} <= set(averaged.state.get("_modules") or ())


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert the averaged generator (`G_ema`) of a training snapshot.

    Raises:
        UnknownCheckpoint: the tensors do not fit, or the constructor asks for what this model does not have.
    """
    assert isinstance(tree, Mapping)
    state = tree["G_ema"].state
    kwargs = dict(state["_init_kwargs"])
    # Training may have changed these two after the constructor; what is saved beside the weights counts.
    kwargs["rendering_kwargs"] = state.get("rendering_kwargs") or kwargs["rendering_kwargs"]
    try:
        network = network_from_official(kwargs, state_dict(tree["G_ema"]))
    except ValueError as error:
        raise UnknownCheckpoint(f"{path.name}: {error}.") from error
    rendering = dataclasses.replace(
        network.config.rendering,
        neural_resolution=int(state.get("neural_rendering_resolution", network.config.rendering.neural_resolution)),
    )
    pose_prior: dict[str, Any] = {}
    if _is_shapenet(rendering):
        rendering = dataclasses.replace(rendering, fov_degrees=53.13)
        pose_prior = {"azimuth": (-math.pi, math.pi), "elevation": (0.0, math.pi / 2), "default_elevation": 0.5}
    config = dataclasses.replace(network.config, rendering=rendering)
    size = config.superresolution.resolutions[1]
    return ConvertedModel(
        kind="eg3d",
        constructor=dataclasses.asdict(config),
        tensors=network.state_dict(),
        licence=LICENCE,
        non_commercial=True,
        description=f"EG3D: tri-planes, {rendering.neural_resolution}² rays, {size}² images",
        pose_prior=pose_prior,
        card=(
            "Imported from an official EG3D snapshot (arXiv:2112.07945); the averaged generator, G_ema.\n\n"
            f"The file does not hold the training cameras' field of view; {rendering.fov_degrees:g}° is assumed, as "
            "published for this camera radius."
        ),
    )


def _is_shapenet(rendering: RenderingConfig) -> bool:
    """The published cars stand in the middle, seen from all around at distance 1.7; heads from the front at 2.7."""
    return abs(rendering.camera_radius - 1.7) < 0.05
