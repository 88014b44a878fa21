"""Fit a DeepSDF without a latent code to one mesh (Sec. 4.1 of arxiv.org/abs/1901.05103)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from addon.wire.errors import Diverged, UnreadableFile

from ...progress import Progress, silent
from .mesh_distance import MeshDistance
from .model import DecoderSpec
from .scene import WORLD_FROM_CANONICAL, DeepSDF

SINGLE_SPEC = DecoderSpec(latent_size=0, dims=(128,) * 6, latent_in=(3,), norm_layers=tuple(range(6)))


@dataclass(frozen=True)
class SingleShape:
    """A DeepSDF of one mesh (Sec. 4.1) in the frame of its mesh: world metres, z up."""

    model: DeepSDF
    loss: float  # last mean |error|, canonical units


def fit_single(
    vertices: NDArray[np.float32],  # [V, 3] metres, z up
    faces: NDArray[np.int32],  # [F, 3]
    *,
    spec: DecoderSpec = SINGLE_SPEC,
    steps: int = 2000,
    points_per_step: int = 4096,
    rate: float = 2e-3,
    clamp: float = 0.1,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> SingleShape:
    """Learn one mesh, open and multi-part ones too: the network of the paper without a code (Sec. 4.1).

    The mesh is learnt about the middle of its bounding box, with its farthest vertex at 1/1.03 of the unit sphere; the
    model stands where the mesh stood.

    Raises:
        UnreadableFile: the mesh has no faces or no size.
        Diverged: the error became NaN.
    """
    vertices = np.asarray(vertices, np.float32)
    if len(faces) == 0 or not np.isfinite(vertices).all():
        raise UnreadableFile(
            "The mesh has no faces, or vertices that are not finite numbers: there is nothing to learn."
        )
    middle = (vertices.min(0) + vertices.max(0)) / 2
    metres_per_unit = float(np.linalg.norm(vertices - middle, axis=1).max() * 1.03)
    if metres_per_unit < 1e-6:
        raise UnreadableFile("The mesh has no size: all its vertices are at one place.")
    canonical = (vertices - middle) @ np.array(WORLD_FROM_CANONICAL, np.float32) / metres_per_unit

    progress(0.0, "Measuring distances")
    random = np.random.default_rng(seed)
    distance = MeshDistance(canonical, faces)
    count = 60_000
    points = [random.uniform(-1, 1, (count // 10, 3))]
    for variance in (0.0025, 0.00025):  # Sec. 5.1
        surface, _ = distance.surface_points(count // 2, random)
        points.append(surface + random.normal(0, math.sqrt(variance), surface.shape))
    positions = np.concatenate(points).astype(np.float32)
    samples = torch.from_numpy(np.concatenate([positions, distance.signed_distance(positions)[:, None]], 1))
    samples = samples.to(device)

    torch.manual_seed(seed)
    low, high = np.maximum(canonical.min(0) - 0.05, -1), np.minimum(canonical.max(0) + 0.05, 1)
    model = DeepSDF(
        spec,
        num_codes=1,
        rank=0,
        clamp=clamp,
        bounds=(tuple(low.tolist()), tuple(high.tolist())),
        metres_per_unit=metres_per_unit,
        center=(float(middle[0]), float(middle[1]), float(middle[2])),
    )
    model.to(device)
    decoder = model.decoder.train().requires_grad_()
    optimizer = torch.optim.Adam(decoder.parameters(), lr=rate)
    code = torch.zeros(spec.latent_size, device=device)
    batches = torch.Generator().manual_seed(seed)
    loss = torch.zeros(())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        batch = samples[torch.randint(len(samples), (points_per_step,), generator=batches).to(samples.device)]
        predicted = decoder(batch[:, :3], code).clamp(-clamp, clamp)
        loss = functional.l1_loss(predicted, batch[:, 3].clamp(-clamp, clamp))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            if not torch.isfinite(loss):
                raise Diverged("Learning the mesh failed: the error is not a number. Try another seed.")
            progress(step / steps, f"Learning the mesh, error {loss.item() * metres_per_unit * 1000:.1f} mm")
    model.eval().requires_grad_(False)
    progress(1.0, "Learnt")
    return SingleShape(model, float(loss.detach()))
