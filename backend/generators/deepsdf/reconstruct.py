"""Latent code of a measured shape: from signed distances, or from a partial scan (shape completion).

This is the inference of the auto-decoder (Eq. 10 of arxiv.org/abs/1901.05103): the network is fixed, and gradient
descent moves a code until the decoder agrees with the measurements,

    ẑ = argmin_z  Σ_j | clamp(f(z, x_j), δ) - clamp(s_j, δ) |  +  λ |z|²

Points are canonical in the functions that take a decoder, and world metres in those that take a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from addon.wire.errors import UnreadableFile

from ...cameras import Camera, points_of_depth
from ...progress import Progress, silent
from ...scenes.capabilities import Completion

if TYPE_CHECKING:
    from .scene import DeepSDF

Decode = Callable[[Tensor, Tensor], Tensor]
"""Points [..., N, 3] and codes [..., latent_size] to signed distances [..., N]."""


def reconstruct(
    decode: Decode,
    samples: Tensor,  # [N, 4]: x, y, z, signed distance
    start: Tensor,  # [latent_size]
    *,
    iterations: int = 800,
    rate: float = 5e-3,
    clamp: float = 0.1,
    code_weight: float = 1e-4,
    points_per_step: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Tensor, float]:
    """The code of a shape given by signed distances (Eq. 10), and the last loss. [latent_size]

    Adam, with a tenth of the rate for the second half of the iterations, and the mean of squares of the code as prior:
    the official procedure. points_per_step: draw so many of the samples each time; None takes all.
    """
    code = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([code], lr=rate)
    random = torch.Generator().manual_seed(seed)
    loss = torch.zeros(())
    for iteration in range(iterations):
        optimizer.param_groups[0]["lr"] = rate * 0.1 ** (iteration // max(1, iterations // 2))
        batch = samples
        if points_per_step is not None and points_per_step < len(samples):
            batch = samples[torch.randint(len(samples), (points_per_step,), generator=random).to(samples.device)]
        predicted = decode(batch[:, :3], code).clamp(-clamp, clamp)
        loss = functional.l1_loss(predicted, batch[:, 3].clamp(-clamp, clamp)) + code_weight * code.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if iteration % 10 == 0:
            progress(iteration / iterations, f"Fitting the code, error {loss.item():.4f}")
    return code.detach(), float(loss.detach())


@dataclass(frozen=True)
class PartialScan:
    """Measurements of a shape from some sides: points on its surface and in the free space before it. World metres."""

    points: Tensor  # [N, 3] on the surface
    normals: Tensor | None = None  # [N, 3] outward
    free: Tensor | None = None  # [M, 3] in empty space
    free_distance: Tensor | None = None  # [M] how far each is at most from the surface


def scan_from_points(points: Tensor, normals: Tensor | None = None, origins: Tensor | None = None) -> PartialScan:
    """Return a scan of points [N, 3], their outward normals and sensor positions as far as known. Metres.

    The space between an origin and its point is free: it is sampled on the half of each ray next to the point.
    """
    if origins is None:
        return PartialScan(points, normals)
    towards = functional.normalize(origins - points, dim=-1)
    length = (origins - points).norm(dim=-1)
    random = torch.Generator().manual_seed(0)
    # most of the free samples near the surface, where a false leg would stand
    back = torch.rand(4, len(points), generator=random).to(points).square() * length
    free = points + back[..., None] * towards
    return PartialScan(points, normals, free.reshape(-1, 3), back.reshape(-1))


def scan_from_depth(depth: Tensor, camera: Camera) -> PartialScan:
    """A scan from a depth image [H, W] (metres along the camera's z, inf where empty) and its camera.

    Pixels of 0 or NaN were not measured and say nothing. Finite ones are surface, with free space in front; where
    nothing was seen, the ray is free as far as the others reach.
    """
    points, origins = points_of_depth(depth, camera)
    scan = scan_from_points(points, None, origins)
    missed = torch.nonzero(torch.isposinf(depth).reshape(-1))[:, 0]
    if len(missed):
        rays, random = camera.rays(), torch.Generator().manual_seed(1)
        distance = (points - origins).norm(dim=-1)
        near, far = distance.min() * 0.8, distance.max() * 1.2
        chosen = missed[torch.randint(len(missed), (len(points),), generator=random).to(missed.device)]
        along = near + (far - near) * torch.rand(len(chosen), 1, generator=random).to(points)
        beside = rays.origins.reshape(-1, 3)[chosen] + along * rays.directions.reshape(-1, 3)[chosen]
        assert scan.free is not None and scan.free_distance is not None
        infinite = torch.full((len(beside),), torch.inf).to(points)
        scan = PartialScan(points, None, torch.cat([scan.free, beside]), torch.cat([scan.free_distance, infinite]))
    return scan


NORMAL_OFFSET = 0.02
"""Canonical distance along the normals at which a scan with normals also states the signed distance (Sec. 6.3: η)."""


def complete(
    model: DeepSDF,
    scan: PartialScan,
    *,
    iterations: int = 800,
    starts: int = 4,
    points_per_step: int = 2048,
    code_weight: float = 1e-3,
    seed: int = 0,
    progress: Progress = silent,
) -> Completion:
    """The most probable shape that fits a partial scan (Sec. 6.3 of the paper).

    Points of the scan have distance 0; with normals, points a little off to either side have ± that; points in free
    space must not be inside, and are at most as far from the surface as the scan says. The prior is the Gaussian of the
    trained codes instead of the paper's |z|², so that what was not seen becomes what is usual. Several starts are
    tried for the first eighth of the iterations, together, and the best goes on.

    Raises:
        UnreadableFile: no points, or points that are not finite or nowhere near the model's bounds.
    """
    rotation = model.world_from_canonical

    def canonical(points: Tensor) -> Tensor:
        return (points.to(rotation) - rotation.new_tensor(model.center)) @ rotation / model.metres_per_unit

    if scan.points.ndim != 2 or scan.points.shape[-1] != 3:
        raise UnreadableFile(f"A scan is [N, 3] points, got {list(scan.points.shape)}.")
    surface = canonical(scan.points)
    _check_scan(surface)
    targets = [torch.cat([surface, torch.zeros_like(surface[:, :1])], -1)]
    if scan.normals is not None:
        normals = functional.normalize(scan.normals.to(rotation) @ rotation, dim=-1)
        for offset in (-NORMAL_OFFSET, NORMAL_OFFSET):
            distance = torch.full_like(surface[:, :1], offset)
            targets.append(torch.cat([surface + offset * normals, distance], -1))
    known = torch.cat(targets)
    free = canonical(scan.free) if scan.free is not None else surface[:0]
    inside_ball = free.norm(dim=-1) < 1  # the decoder was never asked elsewhere
    at_most = scan.free_distance.to(free) / model.metres_per_unit if scan.free_distance is not None else free[:, 0]
    free, at_most = free[inside_ball], at_most[inside_ball].clamp(max=model.clamp)

    random = torch.Generator().manual_seed(seed)
    rank = len(model.code_factor)
    z = 0.5 * torch.randn(starts, rank, generator=random).to(model.device)
    z[0] = 0  # the mean shape

    trial = iterations // 8 if starts > 1 else 0

    def descend(z: Tensor, iterations: int, done: int, total: int) -> tuple[Tensor, Tensor]:
        z = z.clone().requires_grad_()
        optimizer = torch.optim.Adam([z], lr=0.05)
        losses = torch.zeros(len(z))
        for iteration in range(iterations):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - iteration / iterations) + 0.002
            count = points_per_step // len(z)
            on = known[torch.randint(len(known), (count,), generator=random).to(known.device)]
            codes = model.code_mean + z @ model.code_factor
            clamp = model.clamp
            predicted = model.sdf(on[:, :3].expand(len(z), -1, -1), codes).clamp(-clamp, clamp)
            losses = (predicted - on[:, 3]).abs().mean(-1)
            if len(free):
                chosen = torch.randint(len(free), (count,), generator=random).to(free.device)
                value = model.sdf(free[chosen].expand(len(z), -1, -1), codes)
                too_near, too_far = functional.relu(-value), functional.relu(value.clamp(max=clamp) - at_most[chosen])
                losses = losses + (too_near + too_far).clamp(max=clamp).mean(-1)
            prior = z.square().mean(-1)
            optimizer.zero_grad()
            (losses + code_weight * prior).sum().backward()
            optimizer.step()
            if iteration % 5 == 0:
                metres = losses.min().item() * model.metres_per_unit
                progress((done + iteration) / total, f"Fitting the shape, {1000 * metres:.1f} mm off")
        return z.detach(), losses.detach()

    if trial:
        z, losses = descend(z, trial, 0, iterations)
        z = z[losses.argmin()][None]
    else:
        z = z[:1]
    z, losses = descend(z, iterations - trial, trial, iterations)
    best_loss = float(losses[0])
    if not math.isfinite(best_loss):
        raise ValueError("the fit of the scan became NaN")
    ws = model.code_mean + z @ model.code_factor
    with torch.no_grad():
        error = model.sdf(surface[None], ws).abs().clamp(max=model.clamp).mean() * model.metres_per_unit
    progress(1.0, f"{1000 * float(error):.1f} mm off")
    return Completion(ws, float(error))


def _check_scan(surface: Tensor) -> None:
    if len(surface) < 10:
        raise UnreadableFile(f"A scan needs at least 10 points, got {len(surface)}.")
    if not torch.isfinite(surface).all():
        raise UnreadableFile("The scan holds points that are not finite numbers.")
    within = (surface.norm(dim=-1) < 1.2).float().mean()
    if within < 0.5:
        raise UnreadableFile(
            f"Only {within:.0%} of the scan lies where this model's shapes are. Move and scale it so that it is "
            f"upright, in metres, its front along -Y, with the middle of the whole object at the origin."
        )


def interpolate(model: DeepSDF, first: Tensor, second: Tensor, steps: int) -> Tensor:
    """Codes on the line from first to second, both [1, latent_size]. [steps, 1, latent_size]"""
    share = torch.linspace(0, 1, steps, device=first.device)[:, None, None]
    return (1 - share) * first + share * second
