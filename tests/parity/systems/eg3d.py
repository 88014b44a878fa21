"""NVlabs/eg3d: mapping → planes → density and features at points → depths → composite → superresolution."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from backend.generators.eg3d.checkpoint import network_from_official
from backend.generators.eg3d.model import EG3D, rays, sample_planes
from tests.parity.oracle import OracleSet

NOT_REPRODUCED: dict[str, str] = {}


def network(set: OracleSet) -> EG3D:
    """The network of the set's own weights."""
    return network_from_official(set.meta["constructor_kwargs"], set.weights)


@torch.no_grad()
def outputs(set: OracleSet, model: EG3D | None = None) -> dict[str, Tensor]:
    """Every stage of the official call, from the set's inputs and weights, or those of an imported model."""
    meta, inputs = set.meta, set.inputs
    model = model or network(set)
    out: dict[str, Tensor] = {}

    condition = inputs.get("cond")
    ws = model.mapping(
        inputs["z"], condition, truncation_psi=meta["truncation_psi"], truncation_cutoff=meta.get("truncation_cutoff")
    )
    out["ws"], out["ws_psi1"] = ws, model.mapping(inputs["z"], condition)

    planes = model.backbone(ws, noise=meta.get("backbone_noise_mode", "const") != "none")
    for name in set.expected:
        if match := re.fullmatch(r"planes(?:_stride(\d+))?", name):
            stride = int(match[1] or 1)
            out[name] = planes.flatten(1, 2)[:, :, ::stride, ::stride]

    points = inputs["points"]
    out["points_sigma_raw"], out["points_rgb32"] = model.density_and_features(planes, points)
    if set.has("points_plane_features"):
        count = set.expected["points_plane_features"].shape[2]
        out["points_plane_features"] = sample_planes(planes, points[:, :count], model.config.rendering.box_warp)

    camera = inputs["c"]
    resolution = int(meta["neural_rendering_resolution"])
    origins, directions = rays(camera[:, :16].reshape(-1, 4, 4), camera[:, 16:25].reshape(-1, 3, 3), resolution)
    out["ray_origins"], out["ray_directions"] = origins, directions
    near, far = model.ray_limits(origins, directions)
    draws: dict[str, tuple[Tensor | None, Tensor | None]] = {"det": (None, None)}
    if "rnd_jitter" in inputs:
        batch, num_rays, _ = origins.shape
        u = inputs.get("rnd_u")
        draws["rnd"] = (inputs["rnd_jitter"], None if u is None else u.reshape(batch, num_rays, -1))
    for prefix, (jitter, u) in draws.items():
        result = model.render(planes, origins, directions, near, far, jitter=jitter, u=u)
        assert result.coarse_distances is not None and result.coarse_weights is not None
        assert result.fine_distances is not None
        out[f"{prefix}_depths_coarse"] = result.coarse_distances[..., None]
        out[f"{prefix}_weights_coarse"] = result.coarse_weights[..., None]
        out[f"{prefix}_depths_fine"] = result.fine_distances[..., None]
        out[f"{prefix}_weight_total"] = result.alpha.flatten(2).transpose(1, 2)
        out[f"{prefix}_feature_image"] = result.features
        out[f"{prefix}_image_raw"] = result.features[:, :3]
        out[f"{prefix}_image_depth"] = result.distance
        out[f"{prefix}_image"] = model.superresolution(result.features, ws)
    return {name: value for name, value in out.items() if name in set.expected}
