"""XingangPan/ShadeGAN: mapping → density, albedo and normals at points → predicted surface → shaded pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.generators.pigan.model import official_rays
from backend.generators.shadegan.checkpoint import config_from_official, network_from_official
from backend.generators.shadegan.model import ShadeGAN, tracked_t
from tests.parity.oracle import OracleSet


def network(set: OracleSet) -> ShadeGAN:
    """The network of the set's own weights."""
    config = config_from_official(set.weights, set.meta["constructor"], set.meta["render_kwargs"])
    return network_from_official(config, set.weights)


@torch.no_grad()
def outputs(set: OracleSet, model: ShadeGAN | None = None) -> dict[str, Tensor]:
    """Every stage of the official call, from the set's inputs and weights, or those of an imported model."""
    meta, inputs = set.meta, set.inputs
    render = meta["render_kwargs"]
    model = model or network(set)
    config = model.config
    batch, size, steps = inputs["z"].shape[0], int(render["img_size"]), int(render["num_steps"])
    out: dict[str, Tensor] = {}

    ws = model.mapping_network(inputs["z"])
    frequencies, phases = ws.chunk(2, -1)
    out["frequencies"], out["phase_shifts"] = frequencies.flatten(1), phases.flatten(1)
    means = [inputs[f"avg_{part}"].unflatten(1, (ws.shape[1], -1)) for part in ("frequencies", "phase_shifts")]
    mean = torch.cat(means, -1)
    truncated = mean + meta["psi"] * (ws - mean)

    light = inputs.get("light")
    if light is None:
        light = torch.zeros(batch, 4).to(ws)
    density, features, out["points_normal"] = model.geometry(ws, inputs["points"])
    out["points_sigma"] = density[..., None]
    out["points_rgb"] = model.albedo(ws, features, inputs["point_dirs"], light)

    pose = inputs["pose"]
    predicted = model.predicted_t(truncated, pose) if config.surface is not None else None
    even = torch.linspace(render["ray_start"], render["ray_end"], steps).to(ws).expand(batch, size * size, steps)

    def image(value: Tensor) -> Tensor:
        return value.transpose(1, 2).unflatten(2, (size, size))

    modes = {"det": even}
    if "rnd_offset_rand" in inputs:
        modes["rnd"] = even
    if predicted is not None and "delta" in meta:
        modes["det_surftrack"] = tracked_t(predicted, size, steps, meta["delta"])
    for mode, t in modes.items():
        jitter = inputs["rnd_offset_rand"].squeeze(-1) if mode == "rnd" else torch.full_like(t, 0.5)
        u = inputs["rnd_u"].unflatten(0, (batch, -1)) if mode == "rnd" else None
        offsets = (jitter - 0.5) * (t[..., 1:2] - t[..., 0:1])
        rays = official_rays(pose[:, 1], pose[:, 0], size, render["fov"], t, offsets)
        result = model.render(
            truncated, light, rays.origins, rays.directions, t + offsets, u=u, coarse_points=rays.points
        )
        out[f"{mode}_rgb"] = image(result.rgb) * 2 - 1
        out[f"{mode}_albedo"] = image(result.albedo) * 2 - 1
        out[f"{mode}_normal"] = image(result.normal)
        out[f"{mode}_shading"] = result.shading.unflatten(1, (size, size))
        out[f"{mode}_depth"] = result.distance.unflatten(1, (size, size))
        out[f"{mode}_z_coarse"] = result.t_coarse[..., None]
        out[f"{mode}_z_all"], out[f"{mode}_w_all"] = result.t[..., None], result.weights[..., None]
        if predicted is not None:
            out[f"{mode}_depth_pred"] = predicted
    return {name: value for name, value in out.items() if name in set.expected}
