"""autonomousvision/graf: field at points → rays → patches of rays → pixels, disparity, opacity."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.generators.graf.checkpoint import config_from_official, network_from_official
from backend.generators.graf.model import GRAF, official_rays, sampled_rays
from tests.parity.oracle import OracleSet


def network(set: OracleSet) -> GRAF:
    """The network of the set's own weights."""
    weights = set.weights_under("generator.")
    return network_from_official(config_from_official(weights, set.meta["config"]), weights)


@torch.no_grad()
def outputs(set: OracleSet, model: GRAF | None = None) -> dict[str, Tensor]:
    """Every stage of the official call, from the set's inputs and weights, or those of an imported model."""
    meta, inputs = set.meta, set.inputs
    model = model or network(set)
    height, width = meta["HW"]
    ws = model.ws_from_z(inputs["z"])
    out: dict[str, Tensor] = {}
    directions = inputs["point_viewdirs"][:, None].expand_as(inputs["points"])
    out["points_raw"] = model.radiance(ws, inputs["points"], directions)
    rays = torch.stack(official_rays(inputs["poses"], height, width, meta["focal"]), 1)
    out["rays"] = rays
    if "patch_hw" in inputs:
        out["patch_rays"] = sampled_rays(rays[0], inputs["patch_hw"], height, width)
    image = model.render(ws, rays[:, 0], rays[:, 1])
    # all three outputs are mapped from 0..1 to -1..1, also those that are not in 0..1
    out["rgb"] = image.rgb.flatten(0, 1) * 2 - 1
    out["disp"] = image.disparity.flatten()[:, None] * 2 - 1
    out["acc"] = image.alpha.flatten()[:, None] * 2 - 1
    return {name: value for name, value in out.items() if name in set.expected}
