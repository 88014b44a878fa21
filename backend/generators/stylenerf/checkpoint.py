"""Official StyleNeRF checkpoints → our config and weights.

Official vocabulary ends here: `fg_nerf`, `resolution_vol`, `range_u`, string dictionaries.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from addon.wire.errors import UnknownCheckpoint

from ...checkpoints.convert import ConvertedModel, bijection, replaced, state_dict
from ...checkpoints.unpickle import Opaque
from ..layers.stylegan2 import BINOMIAL, low_pass
from .model import CameraConfig, FieldConfig, MappingConfig, RendererConfig, StyleNeRF, StyleNeRFConfig, UpsamplerConfig

CLASSES = ("torch_utils.", "training.", "dnnlib.util.")
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "CC BY-NC 4.0 (StyleNeRF), with parts under the NVIDIA Source Code License: non-commercial only"

IGNORED = {
    "*resample_filter": "the low-pass filter stored beside each layer is that of the constructor",
    "synthesis.alpha": "training progress; a finished model is at 1",
    "*.B_view": "encodes viewing directions, which no field reads",
    "synthesis.camera_generator.*": "draws training cameras",
}

FILTER = re.compile(r"^synthesis\.b\d+(_l\d+)?\.(conv0\.|skip\.)?resample_filter$")
"""The stored filters that are used; every layer has one, of its class's default."""

RENAMED = (
    (r"^mapping\.w_avg$", "mapping_network.w_mean"),
    (r"^mapping\.fc(\d+)\.", r"mapping_network.layers.\1."),
    (r"^mapping\.", "mapping_network."),
    (r"^synthesis\.fg_nerf\.", "foreground."),
    (r"^synthesis\.bg_nerf\.", "background."),
    (r"^((?:fore|back)ground)\.blocks\.", r"\1.layers."),
    (r"\.fc_in\.", ".first."),
    (r"\.sigma_out\.", ".density."),
    (r"\.feat_out\.", ".features."),
    (r"\.to_rgb\.", ".colour."),
    (r"\.B_pos$", ".frequencies"),
    (r"\.torgb\.", ".to_image."),
    (r"\.skip\.", ".shortcut."),
    (r"\.noise_const$", ".noise"),
    (r"\.w_avg$", ".mean_square"),
)
"""Official parameter name → ours, each pattern applied in turn."""

DEPTH_WARPS: dict[str | None, Literal["none", "log", "inverse"]] = {
    None: "none",
    "None": "none",
    "LogWarp": "log",
    "InverseWarp": "inverse",
}
DENSITIES: dict[str, Literal["relu", "shifted_softplus"]] = {"relu": "relu", "shiftedsoftplus": "shifted_softplus"}
UNSUPPORTED = {
    "foreground_kwargs": ("use_viewdirs", "use_normal", "use_sdf", "tcnn_backend", "no_sigma", "normalized_feat"),
    "background_kwargs": ("use_viewdirs", "use_normal", "use_sdf", "tcnn_backend", "no_sigma", "normalized_feat"),
    "synthesis_kwargs": ("prog_nerf_only", "rectangular", "interp_steps", "use_group"),
}


def block_names(weights: Mapping[str, Tensor]) -> list[str]:
    """Official names of the upsampler's blocks in order: b64, b128, …; b64_l1 repeats a resolution."""
    found = {match[1] for match in map(re.compile(r"^synthesis\.(b\d+(?:_l\d+)?)\.").match, weights) if match}
    return sorted(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def renamed(name: str, blocks: list[str]) -> str:
    """Our name of an official parameter."""
    if match := re.match(r"^synthesis\.(b\d+(?:_l\d+)?)\.", name):
        name = f"blocks.{blocks.index(match[1])}." + name[match.end() :]
    return replaced(name, RENAMED)


def config_from_official(kwargs: Mapping[str, Any], weights: Mapping[str, Tensor]) -> StyleNeRFConfig:
    """Our config of the constructor arguments of `training.networks.Generator`.

    Raises:
        ValueError: an argument asks for a part that this model does not have.
    """
    synthesis = dict(kwargs["synthesis_kwargs"])
    groups = {name: dict(synthesis.get(name, {})) for name in ("foreground_kwargs", "background_kwargs")}
    for group, names in UNSUPPORTED.items():
        given = groups.get(group, synthesis)
        if asked := [name for name in names if given.get(name)]:
            raise ValueError(f"StyleNeRF with {group}.{asked[0]} is not supported")
    if dict(synthesis.get("input_kwargs", {})).get("output_mode", "none") != "none":
        raise ValueError("StyleNeRF with synthesised input features (input_kwargs) is not supported")
    mapping = dict(kwargs.get("mapping_kwargs", {}))
    camera = dict(synthesis.get("camera_kwargs", {}))
    renderer = dict(synthesis.get("renderer_kwargs", {}))
    near, far = camera.get("depth_range", (0.5, 6.0))
    azimuth, polar = _pair(camera.get("range_u", (0, 0))), _pair(camera.get("range_v", (0.25, 0.25)))
    if not camera.get("angular_camera", False):  # given as shares of the sphere's area
        azimuth = 2 * math.pi * azimuth[0], 2 * math.pi * azimuth[1]
        polar = math.acos(1 - 2 * polar[0]), math.acos(1 - 2 * polar[1])
    no_background = bool(renderer.get("no_background", False))
    activation = synthesis.get("activation", "lrelu")
    features = int(synthesis.get("rgb_out_dim", 256))
    image_resolution = int(kwargs["img_resolution"])
    resolution = int(synthesis.get("resolution_vol", 32))
    start = synthesis.get("resolution_start")
    return StyleNeRFConfig(
        z_dim=int(kwargs["z_dim"]),
        condition_dim=int(kwargs.get("c_dim", 0)),
        w_dim=int(kwargs["w_dim"]),
        mapping=MappingConfig(
            num_layers=int(mapping.get("num_layers", 8)),
            embed_features=mapping.get("embed_features"),
            layer_features=mapping.get("layer_features"),
            activation=mapping.get("activation", "lrelu"),
            lr_multiplier=float(mapping.get("lr_multiplier", 0.01)),
        ),
        foreground=_field(groups["foreground_kwargs"], int(synthesis.get("z_dim", 256)), features, activation),
        background=None
        if no_background
        else _field(
            groups["background_kwargs"],
            int(synthesis.get("z_dim_bg", 128)),
            int(synthesis.get("rgb_out_dim_bg") or features),
            activation,
        ),
        camera=CameraConfig(
            azimuth=azimuth,
            polar=polar,
            radius=sum(_pair(camera.get("range_radius", (2.732, 2.732)))) / 2,
            near=float(near),
            far=float(far),
            fov_degrees=float(camera.get("fov", 49.13)),
            depth_warp=DEPTH_WARPS[camera.get("depth_transform")],
            intervals_in_t=bool(camera.get("dists_normalized", False)),
            aligned_corners=bool(camera.get("ray_align_corner", True)),
            background_start=float(camera.get("bg_start", 1.0)),
        ),
        renderer=RendererConfig(
            num_samples=int(renderer.get("n_ray_samples", 14)),
            num_background_samples=int(renderer.get("n_bg_samples", 4)),
            hierarchical=bool(renderer.get("hierarchical", True)),
            density=DENSITIES.get(renderer.get("sigma_type", "relu"), "raw"),
            open_end=no_background and not renderer.get("white_background", False),
            resolution=min(resolution, image_resolution),
        ),
        upsampler=_upsampler(synthesis, activation, weights),
        start_resolution=int(start if start is not None else resolution),
        progressive=bool(synthesis.get("progressive", True)),
        num_unused_ws=int(bool(synthesis.get("predict_camera", False))),
    )


def _pair(values: Any) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def _field(given: Mapping[str, Any], z_dim: int, features: int, activation: str) -> FieldConfig:
    encoding = given.get("positional_encoding", "normal")
    colour: Literal["predicted", "first", "none"] = (
        "predicted" if given.get("predict_rgb") else "first" if given.get("add_rgb") else "none"
    )
    return FieldConfig(
        z_dim=z_dim,
        feature_dim=features,
        hidden=int(given.get("hidden_size", 128)),
        num_layers=int(given.get("n_blocks", 8)),
        inverse_sphere=bool(given.get("inverse_sphere", False)),
        encoding=encoding if encoding in ("normal", "gauss") else "none",
        num_frequencies=int(given.get("n_freq_posenc", 10)),
        gauss_features=int(given.get("gauss_dim_pos", 20)),
        append_position=bool(given.get("use_pos", False)),
        position_scale=float(given.get("downscale_p_by", 1)),
        skip=bool(given.get("use_skip", False)),
        colour=colour,
        merged=bool(given.get("merge_sigma_feat", False)),
        sigmoid=bool(given.get("final_sigmoid_act", False)),
        activation=activation,
        input_gain=float(given.get("magnitude_ema_beta", -1)) > 0,
    )


def _upsampler(synthesis: Mapping[str, Any], activation: str, weights: Mapping[str, Tensor]) -> UpsamplerConfig:
    upsampler = dict(synthesis.get("upsampler_kwargs", {}))
    names = block_names(weights)
    official = str(synthesis.get("upsample_mode", "default"))
    mode = next((m for m in ("bilinear", "nearest", "bicubic", "pixelshuffle", "nn_cat") if m in official), "default")
    if "ada" in official or official == "liif":
        raise ValueError(f"StyleNeRF with upsample_mode {official!r} is not supported")
    return UpsamplerConfig(
        resolutions=tuple(int(re.findall(r"\d+", name)[0]) for name in names),
        channels=tuple(weights[f"synthesis.{name}.conv0.weight"].shape[0] for name in names),
        mode=mode,  # type: ignore[arg-type]
        blur="noblur" not in official,
        bilinear_image=official == "bilinear_all",
        kernel_size=int(synthesis.get("kernel_size", 3)),
        architecture=synthesis.get("architecture", "skip"),
        single_layer=bool(synthesis.get("use_single_layer", False)),
        conv_clamp=synthesis.get("conv_clamp"),
        use_noise=bool(synthesis.get("use_noise", True)),
        activation=activation,
        input_gain=float(synthesis.get("magnitude_ema_beta", -1)) > 0,
        residual_image=not upsampler.get("no_residual_img", False),
        shared_colour_style=bool(upsampler.get("shared_rgb_style", False)),
        taps=tuple(synthesis.get("resample_filter", BINOMIAL)),
    )


def network_from_official(kwargs: Mapping[str, Any], weights: Mapping[str, Tensor]) -> StyleNeRF:
    """The network with these constructor arguments and official weights; every tensor is used, every parameter filled.

    Raises:
        ValueError: the constructor arguments ask for a part that this model does not have.
        UnknownCheckpoint: tensors are missing, left over, or of another shape.
    """
    config = config_from_official(kwargs, weights)
    blocks = block_names(weights)
    official = {}
    for name, value in weights.items():
        if FILTER.search(name) and not torch.equal(value.float().cpu(), low_pass(config.upsampler.taps)):
            raise UnknownCheckpoint(f"{name} is another low-pass filter than the constructor's.")
        # Fields are convolutions of one pixel in the official code.
        is_point_layer = re.match(r"synthesis\.[fb]g_nerf\.", name) and value.ndim == 4
        official[name] = value[:, :, 0, 0] if is_point_layer else value
    network = StyleNeRF(config).to(weights["synthesis.fg_nerf.fc_in.weight"].dtype)
    network.load_state_dict(
        bijection(official, network.state_dict(), rename=lambda name: renamed(name, blocks), ignored=IGNORED)
    )
    return network.eval().requires_grad_(False)


def recognise(tree: object) -> bool:
    """Say whether a tree is a training snapshot of StyleNeRF."""
    return _synthesis(tree) is not None


def _synthesis(tree: object) -> Opaque | None:
    averaged = tree.get("G_ema") if isinstance(tree, Mapping) else None
    if not isinstance(averaged, Opaque) or not isinstance(averaged.state, Mapping):
        return None
    synthesis = (averaged.state.get("_modules") or {}).get("synthesis")
    if not isinstance(synthesis, Opaque) or not isinstance(synthesis.state, Mapping):
        return None
    return synthesis if "fg_nerf" in (synthesis.state.get("_modules") or {}) else None


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert the averaged generator (`G_ema`) of a training snapshot.

    Raises:
        UnknownCheckpoint: the tensors do not fit, or the constructor asks for what this model does not have.
    """
    assert isinstance(tree, Mapping)
    averaged = tree["G_ema"]
    try:
        network = network_from_official(averaged.state["_init_kwargs"], state_dict(averaged))
    except ValueError as error:
        raise UnknownCheckpoint(f"{path.name}: {error}.") from error
    c = network.config
    low, high = (math.pi / 2 - angle for angle in reversed(c.camera.polar))
    return ConvertedModel(
        kind="stylenerf",
        constructor=dataclasses.asdict(c),
        tensors=network.state_dict(),
        licence=LICENCE,
        non_commercial=True,
        description=f"StyleNeRF: {c.renderer.resolution}² rays, {(c.stages or (c.renderer.resolution,))[-1]}² images",
        pose_prior={"azimuth": c.camera.azimuth, "elevation": (low, high)},
        card="Imported from an official StyleNeRF snapshot (arXiv:2110.08985); the averaged generator, G_ema.",
    )
