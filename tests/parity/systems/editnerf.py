"""stevliu/editnerf: fields at points, cached features → rays → pixels of both passes, transfer of a colour code."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backend.generators.editnerf.checkpoint import config_from_official, network_from_official, ws_of_styles
from backend.generators.editnerf.model import ConditionalField, EditNeRF, Embedded, Pass, along, composite
from backend.generators.graf.model import official_rays
from tests.parity.oracle import OracleSet


def network(set: OracleSet) -> EditNeRF:
    """The networks of the set's own weights."""
    coarse, fine = (set.weights_under(f"network_{name}.") for name in ("fn", "fine"))
    config = config_from_official(fine, set.inputs["styles"], set.meta["args"])
    near, far = set.meta["near_far"]
    return network_from_official(replace(config, near=near, far=far), coarse, fine, set.inputs["styles"])


@torch.no_grad()
def outputs(set: OracleSet, model: EditNeRF | None = None) -> dict[str, Tensor]:
    """Every stage of the official call, from the set's inputs and weights, or those of an imported model."""
    inputs, model = set.inputs, model or network(set)
    height, width = set.meta["hw"]
    ws = ws_of_styles(model.config, inputs["styles"])
    origins, directions = (x[0] for x in official_rays(inputs["c2w"][None], height, width, set.meta["focal"]))
    each = ws[:, None].expand(-1, len(origins), -1, -1)  # a code for each ray, as the official code has: same rounding
    result = model.render(each[0], origins, directions)
    assert result.coarse is not None and model.coarse is not None
    found = {"rays_o": origins, "rays_d": directions}
    for suffix, of in (("", result.fine), ("0", result.coarse)):
        found |= {f"rgb{suffix}": of.rgb, f"disp{suffix}": of.disparity, f"acc{suffix}": of.alpha}
        found[f"weights{suffix}"] = of.weights
    found["swap_shape0_color1_rgb"] = model.render(
        torch.stack((each[0, :, 0], each[1, :, 1]), 1), origins, directions
    ).fine.rgb
    found = {name: value.reshape(height, width, *value.shape[1:]) for name, value in found.items()}
    points, seen_along = inputs["points"], inputs["viewdirs"][:, None]
    own = ws[torch.arange(len(points)) % len(ws)]
    for name, field in (("fn", model.coarse), ("fine", model.fine)):
        codes = field.embed(own).along()
        raw = found[f"points_raw_network_{name}"] = field(codes, points, seen_along)
        if name == "fine":
            features = field.shape_features(codes, points)
            found["points_fine_shape_cache"] = torch.cat((raw, features), -1)
            found["points_fine_color_cache"] = torch.cat((raw, field.bottleneck(field.fused(features))), -1)
    return found | {"mixed_styles_rgb_official_tiling": _mixed_styles(set, model, ws, origins, directions)}


def _mixed_styles(set: OracleSet, model: EditNeRF, ws: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    """Rays of mixed styles as the official batches pair them: the list of styles is repeated for each sample, against
    points in the order of rays."""
    count = len(set.expected["mixed_styles_rgb_official_tiling"])
    own = ws[torch.arange(count) % len(ws)]
    origins, directions = origins[:count], directions[:count]
    white = model.config.white_background

    def one(field: ConditionalField, t: Tensor) -> Pass:
        codes: Embedded = field.embed(own.repeat(t.shape[1], 1, 1).unflatten(0, t.shape))
        return composite(field(codes, *along(origins, directions, t)), t, directions.norm(dim=-1, keepdim=True), white)

    assert model.coarse is not None
    t = model.even_samples(origins)
    t = model.fine_samples(t, one(model.coarse, t).weights)
    return one(model.fine, t).rgb
