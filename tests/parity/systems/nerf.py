"""Vanilla NeRF against nerf-pytorch and the original TensorFlow code."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.nerf.mlp import checkpoint
from backend.nerf.mlp.encodings import positional_encoding
from backend.nerf.mlp.ndc import ndc_rays
from backend.nerf.mlp.network import NeRF, PassColors, RenderConfig
from backend.rendering import sampling
from tests.parity.oracle import OracleSet


def network(set: OracleSet) -> NeRF:
    """The network of the set's own weights."""
    meta = set.meta
    if set.system == "bmild/nerf":
        networks = []
        for name in ("model", "model_fine"):
            arrays = set.weights_under(f"{name}/")
            networks.append(checkpoint.network_from_keras([arrays[key] for key in sorted(arrays)]))
        samples, white = (meta["N_samples"], meta["N_importance"]), meta["white_bkgd"]
    else:
        networks = [
            checkpoint.network_from_pytorch(set.weights_under(f"{name}.")) for name in ("network_fn", "network_fine")
        ]
        samples = (meta["args"]["N_samples"], meta["args"]["N_importance"])
        white = meta["white_bkgd"]
    near, far = meta["near_far"]
    render = RenderConfig(
        near,
        far,
        *samples,
        in_disparity=meta.get("lindisp", False),
        white_background=white,
        ndc=meta.get("ndc", False),
    )
    nerf = NeRF(networks[0][0], networks[1][0], render)
    nerf.coarse.load_state_dict(networks[0][1])
    nerf.fine.load_state_dict(networks[1][1])
    return nerf.to(set.inputs["pose"].dtype)


def _rays(set: OracleSet) -> tuple[Tensor, Tensor]:
    """Official rays: no half pixel, the camera looks along −z (nothing of ours renders like that)."""
    height, width = set.expected["rgb"].shape[:2]
    pose = set.inputs["pose"]
    if "K" in set.inputs:
        k = set.inputs["K"]
    else:
        focal = float(set.inputs["focal"])
        k = torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=pose.dtype)
    j, i = torch.meshgrid(torch.arange(height, dtype=pose.dtype), torch.arange(width, dtype=pose.dtype), indexing="ij")
    local = torch.stack(((i - k[0, 2]) / k[0, 0], -(j - k[1, 2]) / k[1, 1], -torch.ones_like(i)), -1)
    directions = (local[..., None, :] * pose[:3, :3]).sum(-1)
    return pose[:3, 3].expand_as(directions), directions


EMPTY = 1e10
"""Disparity of an empty ray in TensorFlow: 1 / max(1e-10, 0/0), where Eigen's max, as std::max, returns its first
argument if the second is NaN. PyTorch's maximum returns the NaN."""


def disparity(colors: PassColors, system: str) -> Tensor:
    """The disparity as the framework of a system makes it of an empty ray, whose alpha is 0."""
    return torch.where(colors.alpha == 0, EMPTY, colors.disparity) if system == "bmild/nerf" else colors.disparity


@torch.no_grad()
def outputs(set: OracleSet, model: NeRF | None = None) -> dict[str, Tensor]:
    """Everything the official render call returned, from the set's weights or those of an imported model."""
    nerf = model or network(set)
    height, width = set.expected["rgb"].shape[:2]
    origins, directions = _rays(set)
    found = {"rays_o": origins, "rays_d": directions}
    view = directions / directions.norm(dim=-1, keepdim=True)
    if nerf.config.ndc:
        origins, directions = ndc_rays(origins, directions, float(set.inputs["K"][0, 0]), width, height)
        found.update(ndc_o=origins, ndc_d=directions)
    result = nerf.render_rays(origins.reshape(-1, 3), directions.reshape(-1, 3), view.reshape(-1, 3))
    coarse, fine, drawn = result.coarse, result.fine, result.drawn
    flat = {
        "rgb": fine.rgb,
        "disp": disparity(fine, set.system),
        "acc": fine.alpha,
        "raw": result.raw,
        "rgb0": coarse.rgb,
        "disp0": disparity(coarse, set.system),
        "acc0": coarse.alpha,
        "z_std": drawn.std(-1, unbiased=False),
    }
    found.update({name: value.reshape(height, width, *value.shape[1:]) for name, value in flat.items()})
    points, directions = set.inputs["points"], set.inputs["viewdirs"][:, None]
    found["points_raw_coarse"] = found["points_raw_model"] = nerf.coarse(points, directions)
    found["points_raw_fine"] = found["points_raw_model_fine"] = nerf.fine(points, directions)
    if set.has("embed5"):
        found["embed5"] = positional_encoding(points.reshape(-1, 3)[:5], nerf.coarse.config.position_frequencies)
    if set.has("pdf_bins", "pdf_weights", "pdf_samples"):
        rays, num_bins = set.expected["pdf_bins"].shape
        found["pdf_bins"] = sampling.midpoints(result.t_coarse).expand(rays, num_bins)
        found["pdf_weights"] = coarse.weights[:rays, 1:-1]
        found["pdf_samples"] = drawn[:rays]
    return {name: value for name, value in found.items() if name in set.expected}
