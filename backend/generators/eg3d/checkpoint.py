"""Official EG3D checkpoints → our config and weights.

Official vocabulary ends here: `backbone.synthesis`, `cam2world`, `c`, string dictionaries.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from backend.generators.eg3d.model import (
    EG3D,
    SUPERRESOLUTIONS,
    BackboneConfig,
    EG3DConfig,
    MappingConfig,
    RenderingConfig,
    SuperresolutionConfig,
)
from backend.generators.layers.stylegan2 import BINOMIAL, low_pass

IGNORED = re.compile(r"(^|\.)resample_filter$")
"""The low-pass filter stored beside each layer; compared with the constructor's, not loaded."""

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


def renamed(name: str) -> str:
    """Our name of an official parameter."""
    for pattern, ours in RENAMED:
        name = re.sub(pattern, ours, name)
    return name


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
            camera_pivot=tuple(float(x) for x in rendering.get("avg_camera_pivot", (0, 0, 0))),
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
        noise=rendering.get("superresolution_noise_mode", "none"),
        kernel_size=first.shape[-1],
        activation=sr.get("activation", "lrelu"),
        taps=tuple(sr.get("resample_filter", BINOMIAL)),
    )


def _found(pattern: str, names: Mapping[str, Any]) -> list[str]:
    return [match[1] for match in map(re.compile(pattern).match, names) if match]


def model_from_official(kwargs: Mapping[str, Any], weights: Mapping[str, Tensor]) -> EG3D:
    """The network with these constructor arguments and official weights; every tensor is used, every parameter filled.

    Raises:
        ValueError: tensors are missing, left over, or of another shape; or the constructor arguments are of no EG3D.
    """
    config = config_from_official(kwargs, weights)
    for name, value in weights.items():
        if IGNORED.search(name) and not torch.equal(value.float().cpu(), low_pass(config.backbone.taps)):
            raise ValueError(f"{name} is another low-pass filter than the constructor's")
    model = EG3D(config)
    dtype = weights["decoder.net.0.weight"].dtype
    state = {renamed(name): value for name, value in weights.items() if not IGNORED.search(name)}
    model.to(dtype).load_state_dict(state)
    return model.eval().requires_grad_(False)
