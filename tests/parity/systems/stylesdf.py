"""royorel/StyleSDF: mapping → rays → signed distances → thumbnail and features → decoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from backend.generators.stylesdf.checkpoint import config_from_official, network_from_official
from backend.generators.stylesdf.model import StyleSDF, official_rays
from tests.parity.oracle import OracleSet


def network(set: OracleSet) -> StyleSDF:
    """The network of the set's own weights."""
    config = config_from_official(set.weights, set.meta["model_opt"], set.meta["rendering_opt"])
    return network_from_official(config, set.weights)


@torch.no_grad()
def outputs(set: OracleSet, model: StyleSDF | None = None) -> dict[str, Tensor]:
    """Every stage of the official call, from the set's inputs and weights, or those of an imported model."""
    meta, inputs = set.meta, set.inputs
    model = model or network(set)
    config = model.config
    out: dict[str, Tensor] = {}

    means = (inputs["mean_latent_renderer"], inputs.get("mean_latent_decoder"))
    ws = model.mapping(inputs["z"], truncation_psi=meta["psi"], means=means)
    out["renderer_latent"] = ws[:, 0, : config.style_dim]
    out["decoder_latent"] = ws[:, config.num_renderer_ws :, : config.decoder_style_dim]

    points, directions = inputs["points_normalised"], inputs["point_viewdirs"]
    at_points = model.renderer.radiance(ws, points.flatten(1, -2), directions.flatten(1, -2))
    out["points_rgb_sdf_feat"] = at_points.unflatten(1, points.shape[1:-1])

    size = set.expected["thumb_rgb"].shape[-1]
    rays = official_rays(inputs["cam_poses"], size, inputs["focal"])
    viewed = rays.in_camera if config.static_directions else rays.directions
    out["rays_o"], out["rays_d"], out["viewdirs"] = (
        ray.unflatten(1, (size, size)) for ray in (rays.origins, rays.directions, viewed)
    )
    near, far = inputs["near"], inputs["far"]
    image = model.renderer.render(ws, rays.origins, rays.directions, F.normalize(viewed, dim=-1), near, far)

    def channels_first(value: Tensor) -> Tensor:
        return value.transpose(1, 2).unflatten(2, (size, size))

    out["thumb_rgb"] = channels_first(image.rgb) * 2 - 1
    out["features"] = channels_first(image.features)
    out["xyz"] = channels_first((image.weights[..., None] * image.points).sum(-2))
    out["mask"] = channels_first(image.weights[..., -1:])
    out["sdf"] = image.value.unflatten(1, (size, size))[..., None]
    if config.image_size:
        out["rgb"] = model.upsample(ws, out["features"])
    return {name: value for name, value in out.items() if name in set.expected}
