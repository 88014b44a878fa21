"""facebookresearch/StyleNeRF: mapping → rays → fields at points → depths → composite → upsampler."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from backend.generators.stylenerf.checkpoint import network_from_official
from backend.generators.stylenerf.model import StyleNeRF, camera_rays
from tests.parity.oracle import OracleSet

NOT_REPRODUCED: dict[str, str] = {}


def network(set: OracleSet) -> StyleNeRF:
    """The network of the set's own weights."""
    return network_from_official(set.meta["constructor"], set.weights)


@torch.no_grad()
def outputs(set: OracleSet, model: StyleNeRF | None = None) -> dict[str, Tensor]:
    """Every stage of the official call, from the set's inputs and weights, or those of an imported model."""
    meta, inputs = set.meta, set.inputs
    model = model or network(set)
    out: dict[str, Tensor] = {}

    condition = inputs.get("c")
    ws = model.mapping(
        inputs["z"], condition, truncation_psi=meta["truncation_psi"], truncation_cutoff=meta.get("truncation_cutoff")
    )
    out["ws"], out["ws_psi1"] = ws, model.mapping(inputs["z"], condition)

    camera_mat, world_mat = inputs["camera_mat"], inputs["world_mat"]
    codes = (inputs.get("z_shape"), inputs.get("z_shape_bg"))
    alpha = float(meta.get("alpha", 1.0))
    pixels = model.pixels(alpha, like=ws).expand(len(ws), -1, -1)
    origins, rays = camera_rays(pixels, camera_mat, world_mat)
    out["camera_world"], out["ray_vector"], out["pixels_world"] = origins, rays, origins + rays

    if "points" in inputs:
        points = inputs["points"]
        foreground_ws = model.split(ws)[0]
        out["points_rgbfeat"], out["points_sigma_raw"] = model.foreground(points, foreground_ws, codes[0])
        for name in set.expected:
            if match := re.fullmatch(r"points(\d+)_posenc", name):
                out[name] = model.foreground.encode(points[:, : int(match[1])])

    def full(alpha: float) -> tuple[Tensor, Tensor]:
        image, rendered, result = model(ws, camera_mat, world_mat, codes, alpha=alpha)
        if alpha == float(meta.get("alpha", 1.0)):
            side = rendered.shape[-1]
            surface = origins + result.surface_depth[..., None] * rays
            out.update(
                fg_feat=result.foreground,
                fg_weights=result.weights,
                bg_lambda=result.transmittance,
                fg_di=result.t,
                fg_depths=result.depths,
                early_surface_xyz=surface.transpose(1, 2).unflatten(2, (side, side)),
            )
            if result.background is not None:
                out.update(
                    bg_feat=result.background,
                    bg_weights=result.background_weights,
                    bg_di=(-model.background_inverse_distances(ws)).expand_as(result.background_weights),
                )
        return image, rendered

    out["img"], out["img_nerf"] = full(alpha)
    for name in set.expected:
        if match := re.fullmatch(r"img_alpha(-?[\d.]+)", name):
            out[name] = full(float(match[1]))[0]
    if "img_float64" in set.expected:
        out["img_float64"] = outputs_in_double(set)
    return {name: value for name, value in out.items() if name in set.expected}


def outputs_in_double(set: OracleSet) -> Tensor:
    """The final image computed in float64 throughout."""
    double = set.to(torch.float64)
    model = network_from_official(set.meta["constructor"], double.weights)
    inputs = double.inputs
    ws = model.mapping(
        inputs["z"],
        inputs.get("c"),
        truncation_psi=set.meta["truncation_psi"],
        truncation_cutoff=set.meta.get("truncation_cutoff"),
    )
    codes = (inputs.get("z_shape"), inputs.get("z_shape_bg"))
    alpha = float(set.meta.get("alpha", 1.0))
    return model(ws, inputs["camera_mat"], inputs["world_mat"], codes, alpha=alpha)[0]
