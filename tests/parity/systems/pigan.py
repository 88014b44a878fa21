"""marcoamonteiro/pi-GAN: mapping → truncation → field at points → rays → depths and weights → pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.generators.pigan.checkpoint import config_from_official, network_from_official
from backend.generators.pigan.model import CanonicalRays, PiGAN, Rendering, official_rays
from tests.parity.oracle import OracleSet


def network(set: OracleSet) -> PiGAN:
    """The network of the set's own weights."""
    meta = set.meta
    config = config_from_official(meta["official_class"], set.weights, meta["render_kwargs"])
    return network_from_official(config, set.weights)


@torch.no_grad()
def outputs(set: OracleSet, model: PiGAN | None = None) -> dict[str, Tensor]:
    """Every stage of the official call, from the set's inputs and weights, or those of an imported model."""
    meta, inputs = set.meta, set.inputs
    render = meta["render_kwargs"]
    model = model or network(set)
    batch, size, steps = inputs["z"].shape[0], int(render["img_size"]), int(render["num_steps"])

    def split(ws: Tensor) -> tuple[Tensor, Tensor]:
        frequencies, phases = ws.chunk(2, -1)
        return frequencies.flatten(1), phases.flatten(1)

    ws = model.mapping_network(inputs["z"])
    mean = torch.cat(
        [inputs[f"avg_{part}"].unflatten(1, (ws.shape[1], -1)) for part in ("frequencies", "phase_shifts")], -1
    )
    truncated = mean + meta["psi"] * (ws - mean)
    out: dict[str, Tensor] = {}
    out["frequencies"], out["phase_shifts"] = split(ws)
    out["trunc_frequencies"], out["trunc_phase_shifts"] = split(truncated)
    out["points_rgbsigma"] = model.radiance(truncated, inputs["points"], inputs["point_dirs"])

    t = torch.linspace(render["ray_start"], render["ray_end"], steps).to(ws).expand(batch, size * size, steps)
    pose = [torch.full((batch, 1), float(render[name])).to(ws) for name in ("h_mean", "v_mean")]
    out["det_yaw"], out["det_pitch"] = pose

    def image(rgb: Tensor) -> Tensor:
        return rgb.transpose(1, 2).unflatten(2, (size, size)) * 2 - 1

    def rendered(ws: Tensor, *, rnd: bool = False, last_back: bool) -> tuple[CanonicalRays, Rendering]:
        jitter = inputs["rnd_offset_rand"].squeeze(-1) if rnd else torch.full_like(t, 0.5)
        offsets = (jitter - 0.5) * (t[..., 1:2] - t[..., 0:1])
        rays = official_rays(pose[0][:, 0], pose[1][:, 0], size, render["fov"], t, offsets)
        u = inputs["rnd_u"].unflatten(0, (batch, -1)) if rnd and "rnd_u" in inputs else None
        lock = bool(render.get("lock_view_dependence", False))
        return rays, model.render(
            ws,
            rays.origins,
            rays.directions,
            t + offsets,
            u=u,
            coarse_points=rays.points,
            lock_view=lock,
            last_back=last_back,
        )

    staged_back = bool(render.get("eval_last_back", False))
    rays, det = rendered(truncated, last_back=staged_back)
    out["det_rays_o"], out["det_rays_d"] = rays.origins, rays.directions
    out["det_z_coarse"], out["det_w_coarse"] = det.t_coarse[..., None], det.weights_coarse[..., None]
    out["det_rgbsigma_coarse"] = det.field_coarse
    out["det_z_all"], out["det_w_all"] = det.t[..., None], det.weights[..., None]
    out["det_pixels"] = out["det64_pixels"] = image(det.rgb)
    out["det_depth"] = det.distance.unflatten(1, (size, size))
    if "rnd_offset_rand" in inputs:
        _, rnd = rendered(truncated, rnd=True, last_back=staged_back)
        out["rnd_pixels"], out["rnd_depth"] = image(rnd.rgb), rnd.distance.unflatten(1, (size, size))
        out["rnd_z_all"], out["rnd_w_all"] = rnd.t[..., None], rnd.weights[..., None]
    _, plain = rendered(ws, last_back=bool(render.get("last_back", False)))
    out["forward_psi1_pixels"] = image(plain.rgb)
    return {name: value for name, value in out.items() if name in set.expected}
