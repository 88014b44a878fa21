"""Benchmark of the radiance-field engine: `python -m backend bench nerf`.

The engine is compared with its own definition in tuned PyTorch (every kernel's reference.py, the best of several chunk
sizes), in one process, alternating, medians. The scene is ray-traced, the shapes are those of instant-ngp: 16 levels of
2 features, 16 to 2048 cells, networks 32→64→16 and 32→64→64→3. The *arithmetic share* is the floating point operations
of the networks that a render needs (6.1 k for a sample's density, 12.7 k for a group's colour) over its time,
against what a large matrix product reaches here.

The last two figures stand alone: the fused networks against the same in PyTorch, and the engine against NeRF as
published (8 × 256, 64 + 128 samples, 1024 rays a step) by seconds of fitting to 22 dB on rays of held-out 64² views.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from addon.wire.messages import FitOptions

from ..kernels.compositing import composite_packed
from ..kernels.hash_encoding import hash_encode
from ..kernels.hash_encoding.warp_engine import add_table_gradient
from ..kernels.radiance_mlp import RadianceMlpSpec, density_mlp, geometry_mlp, radiance_mlp
from ..kernels.ray_marching import march_rays
from ..kernels.ray_rendering import grouped, render_rays
from ..kernels.sparse_adam import AdamState, sparse_adam
from ..kernels.spherical_harmonics import spherical_harmonics
from ..kernels.visible_samples import visible_samples
from ..nerf.evaluate import psnr
from ..nerf.fit.rays import RayBatch
from ..nerf.hash.field import FAINT, OPAQUE
from ..nerf.hash.presets import Training
from ..nerf.hash.trainer import OCCLUDED, HashTrainer
from ..nerf.mlp.trainer import NeRFTrainer
from .clock import alternated, matrix_rate, median, peak_bytes_on, seconds
from .peak import peak_bytes
from .ray_traced import ray_traced
from .row import Row

RENDER_TARGETS = {19: 8.0, 15: 12.0}
STEP_TARGETS = {19: 4.5, 15: 6.0}
SHARE_TARGET = 0.20
CLOSE = 65.0  # dB; rounding to 8 bits: 59
MEMORY_TARGET = 1.5  # GB
TARGET = 22.0  # dB
RATIO_TARGET = 30.0
PATIENCE = 45  # limit of the published network, in times of the engine's seconds
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sizes:
    """Sizes of what is measured."""

    side: int = 256  # pixels of a render
    rays: int = 4096  # of a training step
    steps: int = 600  # of the fit before it is measured
    repeats: int = 5
    chunks: tuple[int, ...] = (2048, 8192, 32768)  # rays of the reference, of which the fastest counts
    tables: tuple[int, ...] = (19, 15)  # log2 of the entries of a level


FULL = Sizes()
TINY = Sizes(side=24, rays=256, steps=10, repeats=1, chunks=(576,), tables=(15,))
"""For tests, and to try the command."""


def rows(device: torch.device = CPU, *, tiny: bool = False) -> list[Row]:
    """See backend.bench.

    Args:
        device: on another one than the processor, a render and a training step alone, without targets.
        tiny: small sizes, a render and a training step alone, without targets.
    """
    sizes = TINY if tiny else FULL
    side = 2048 if device == CPU or tiny else 8192
    peak = matrix_rate(device, side, budget=1.0)
    found = [Row("threads", torch.get_num_threads(), ""), Row(f"matrix product {side}³", peak / 1e9, "GFLOP/s")]
    for log2_size in sizes.tables:
        if device.type == "cuda" and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats(device)
        fit = instant_ngp(log2_size, device, sizes)
        if device.type == "cuda":
            fit.scene().render(ray_traced(sizes.side).split("test")[0].camera.to(device))
            gigabytes = peak_bytes_on(device) / 1e9
            found.append(Row(f"peak memory of the device, a fit and a render, table 2^{log2_size}", gigabytes, "GB"))
        found += rendering(fit, log2_size, peak, sizes) + step(fit, log2_size, sizes)
    if device != CPU or tiny:
        return [replace(row, target=None, ok=True) for row in found]
    found.append(memory())
    found += networks()
    found += published()
    return found


def instant_ngp(log2_size: int, device: torch.device = CPU, sizes: Sizes = FULL) -> HashTrainer:
    """Return a fit with instant-ngp's shapes, long enough to have a surface: what an artist works with."""
    training = Training(log2_size=log2_size, num_levels=16, finest=2048)
    fit = HashTrainer(ray_traced(sizes.side), FitOptions(steps=1000), device, training=training)
    for _ in range(sizes.steps):
        fit.advance()
    return fit


# ------------------------------------------------------------------------------------------------------------ rendering


def rendering(fit: HashTrainer, log2_size: int, peak: float, sizes: Sizes = FULL) -> list[Row]:
    """Times of a render, and of its stages, each alone on samples that exist already."""
    field = fit.field
    rays = ray_traced(sizes.side).split("test")[0].camera.to(field.device).rays()
    origins, directions = field.from_world(rays.origins.reshape(-1, 3)), rays.directions.reshape(-1, 3)

    def engine() -> Tensor:
        return field.render_rays(origins, directions)

    def reference(chunk: int) -> Tensor:
        return field.render_rays(origins, directions, chunk=chunk, impl="reference")

    times_of = {chunk: seconds(lambda chunk=chunk: reference(chunk)) for chunk in sizes.chunks}  # type: ignore[misc]
    best = min(times_of, key=lambda chunk: times_of[chunk])
    engine()
    times = alternated({"engine": engine, "reference": lambda: reference(best)}, sizes.repeats)
    difference = float((engine() - reference(best))[:, :4].abs().max())
    spec, mlp = field.config.table, field.config.networks
    exact = render_rays(
        origins, directions, *field.spans(origins, directions), field.occupancy, field.config.steps_of(),
        field.table, field.networks, spec, mlp, threshold=1e-6, faintest=1e-7,
    )  # fmt: skip
    closeness = psnr(engine()[:, :3].cpu(), exact[:, :3].cpu())
    samples = field.march(origins, directions)
    reached, reached_features = visible_samples(samples, field.table, field.networks, spec, mlp, OPAQUE)
    geometry = geometry_mlp(reached_features, field.networks, mlp)
    groups = grouped(reached, geometry, OPAQUE, FAINT)
    of_density = 2 * sum(rows * columns for rows, columns in mlp.shapes[:2])
    share = (len(reached.t) * of_density + len(groups.t) * (mlp.flops - of_density)) / times["engine"] / peak
    name = f"render {sizes.side}², table 2^{log2_size}"
    view, some = spherical_harmonics(directions), reached_features[: len(groups.t)]
    stages: dict[str, Callable[[], object]] = {
        "march": lambda: field.march(origins, directions),
        "encode": lambda: hash_encode(reached.points, field.table, spec),
        "density": lambda: density_mlp(reached_features, field.networks, mlp),
        "density and colour of as many as are coloured": lambda: radiance_mlp(
            some, view, groups.rays, field.networks, mlp
        ),
    }
    ratio = times["reference"] / times["engine"]
    return [
        Row(f"{name}: engine", times["engine"], "s"),
        Row(f"{name}: reference, chunks of {best} rays", times["reference"], "s"),
        Row(f"{name}: ratio", ratio, "x", RENDER_TARGETS[log2_size], ratio >= RENDER_TARGETS[log2_size]),
        Row(f"{name}: largest difference of a pixel", difference, "", 0.02, difference <= 0.02),
        Row(f"{name}: PSNR to the render that evaluates and colours all", closeness, "dB", CLOSE, closeness >= CLOSE),
        Row(f"{name}: rays that meet something", float((reached.offsets.diff() > 0).float().mean()), ""),
        Row(f"{name}: samples marched", len(samples.t), ""),
        Row(f"{name}: samples that light reaches", len(reached.t), ""),
        Row(f"{name}: groups of them coloured", len(groups.t), ""),
        Row(f"{name}: arithmetic share", share, "", SHARE_TARGET, share >= SHARE_TARGET),
        *(Row(f"{name}: alone, {stage}", median(work, sizes.repeats), "s") for stage, work in stages.items()),
    ]


# ----------------------------------------------------------------------------------------------------- a training step


def step(fit: HashTrainer, log2_size: int, sizes: Sizes = FULL) -> list[Row]:
    """Times of a training step with that of the optimiser, and of its stages, each alone."""
    table = fit.field.table.clone().requires_grad_()
    networks = fit.field.networks.clone().requires_grad_()
    optimizer = torch.optim.Adam([table, networks], lr=1e-9, betas=(0.9, 0.99), eps=1e-15, foreach=True)
    counts: dict[str, int] = {}
    batch = fit.rays.draw(sizes.rays, torch.Generator().manual_seed(0))

    def engine() -> None:
        counts["engine"] = fit.learn(batch, 1e-9)[2]

    def reference(chunk: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        counts["reference"] = 0
        for at in range(0, sizes.rays, chunk):
            counts["reference"] += learn_reference(fit, batch.part(at, at + chunk), table, networks)
        optimizer.step()

    chunks = (1024, 4096)
    times_of = {chunk: seconds(lambda chunk=chunk: reference(chunk)) for chunk in chunks}  # type: ignore[misc]
    best = min(times_of, key=lambda chunk: times_of[chunk])
    times = alternated({"engine": engine, "reference": lambda: reference(best)}, sizes.repeats)
    name = f"training step of {sizes.rays} rays, table 2^{log2_size}"
    stages = {} if fit.device.type == "mps" else step_stages(fit, batch)  # where PyTorch does all at once
    ratio = times["reference"] / times["engine"]
    return [
        Row(f"{name}: engine", times["engine"], "s"),
        Row(f"{name}: reference, chunks of {best} rays", times["reference"], "s"),
        Row(f"{name}: ratio", ratio, "x", STEP_TARGETS[log2_size], ratio >= STEP_TARGETS[log2_size]),
        Row(f"{name}: samples of the engine", counts["engine"], ""),
        Row(f"{name}: samples of the reference", counts["reference"], ""),
        *(Row(f"{name}: alone, {stage}", median(work, sizes.repeats), "s") for stage, work in stages.items()),
    ]


def step_stages(fit: HashTrainer, batch: RayBatch) -> dict[str, Callable[[], object]]:
    """Stages of a training step, each on the results of the stage before it."""
    field, mlp, spec = fit.field, fit.field.config.networks, fit.field.config.table
    origins, directions = batch.in_world(fit.rays.poses)
    origins, directions = field.from_world(origins), directions / directions.norm(dim=-1, keepdim=True)
    jitter = torch.rand(len(origins), generator=torch.Generator().manual_seed(0)).to(origins.device)
    marched = field.march(origins, directions, jitter)
    samples, features = visible_samples(marched, field.table, field.networks, spec, mlp, OCCLUDED)
    view, networks = spherical_harmonics(directions), field.networks.clone().requires_grad_()
    features.requires_grad_()
    raw = radiance_mlp(features, view, samples.rays, networks, mlp).detach().requires_grad_()
    target = batch.rgb * batch.alpha[:, None]

    def networks_forward() -> Tensor:
        return radiance_mlp(features, view, samples.rays, networks, mlp)

    def composited() -> None:
        pixels = composite_packed(raw, samples.t, samples.lengths, samples.offsets)
        smooth_l1_loss(pixels.rgb, target, beta=0.1).backward()

    composited()
    assert raw.grad is not None
    of_raw = raw.grad.clone()
    networks_forward().backward(of_raw)
    assert features.grad is not None
    of_features = features.grad.clone()
    table, adam = field.table.clone(), AdamState.zeros(field.table)

    def table_gradient() -> None:
        add_table_gradient(adam.gradient, of_features, samples.points, spec, adam.touched)

    table_gradient()
    touched = adam.touched.clone()

    def table_moved() -> None:
        adam.touched.copy_(touched)  # the step before cleared it
        sparse_adam(table, adam, 1e-9, 1)

    return {
        "march": lambda: field.march(origins, directions, jitter),
        "encode, density and what light reaches": lambda: visible_samples(
            marched, field.table, field.networks, spec, mlp, OCCLUDED
        ),
        "networks forward": networks_forward,
        "networks forward and backward": lambda: networks_forward().backward(of_raw),
        "composite and loss, forward and backward": composited,
        "gradient of the table": table_gradient,
        "optimiser of the table": table_moved,
    }


def learn_reference(fit: HashTrainer, batch: RayBatch, table: Tensor, networks: Tensor) -> int:
    """Gradients of a step by the definitions and autograd; returns the number of samples."""
    field, mlp, spec = fit.field, fit.field.config.networks, fit.field.config.table
    origins, directions = batch.in_world(fit.rays.poses)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    origins = field.from_world(origins)
    near, far = field.spans(origins, directions)
    jitter = torch.rand(len(origins), device=origins.device)
    samples = march_rays(
        origins, directions, near, far, field.occupancy, field.config.steps_of(), jitter, impl="reference"
    )
    samples, _ = visible_samples(samples, table.detach(), networks.detach(), spec, mlp, impl="reference")
    features = hash_encode(samples.points, table, spec, impl="reference")
    raw = radiance_mlp(features, spherical_harmonics(directions), samples.rays, networks, mlp, impl="reference")
    pixels = composite_packed(raw, samples.t, samples.lengths, samples.offsets, impl="reference")
    smooth_l1_loss(pixels.rgb, batch.rgb * batch.alpha[:, None], beta=0.1).backward()
    return len(samples.t)


# ------------------------------------------------------------------------------------------------------------- the rest


def memory() -> Row:
    """The largest resident size of a process that fits and renders with a table of 2^19."""
    code = "from backend.bench import nerf; print(nerf.peak_memory())"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root)
    gigabytes = json.loads(done.stdout.strip().splitlines()[-1]) / 1e9
    return Row("memory of a process with a 2^19 model", gigabytes, "GB", MEMORY_TARGET, gigabytes <= MEMORY_TARGET)


def peak_memory() -> int:
    """Fit a 2^19 model for a while, render, and return the largest resident size of this process in bytes."""
    fit = instant_ngp(19)
    fit.scene().render(ray_traced(FULL.side).split("test")[0].camera)
    return peak_bytes()


def networks() -> list[Row]:
    """Ratio of the same networks in PyTorch to the fused ones, forward and backward, 145,000 samples."""
    mlp = RadianceMlpSpec()
    generator = torch.Generator().manual_seed(0)
    count, rays = 145_000, 4096
    features = torch.randn(count, mlp.inputs, generator=generator).requires_grad_()
    view = torch.randn(rays, mlp.view, generator=generator)
    ray = torch.randint(rays, (count,), generator=generator, dtype=torch.int32)
    parameters = mlp.initial(generator).requires_grad_()
    given = torch.randn(count, 4, generator=generator)

    def both(impl: Literal["fused", "reference"]) -> None:
        radiance_mlp(features, view, ray, parameters, mlp, impl=impl).backward(given)

    def forward(impl: Literal["fused", "reference"]) -> None:
        with torch.no_grad():
            radiance_mlp(features, view, ray, parameters, mlp, impl=impl)

    found = []
    for name, work in (("forward", forward), ("forward and backward", both)):
        works = {"fused": lambda: work("fused"), "reference": lambda: work("reference")}  # noqa: B023
        times = alternated(works, FULL.repeats)
        found.append(Row(f"fused networks, {name}: ratio to PyTorch", times["reference"] / times["fused"], "x"))
    return found


def published() -> list[Row]:
    """Seconds of fitting to 22 dB on rays of held-out views, both methods on the same 64² images."""
    dataset = ray_traced(64)
    views = dataset.split("test")
    generator = torch.Generator().manual_seed(0)
    seen = [(view.camera, dataset.load(view)) for view in views]
    pixels = [torch.randint(64, (128, 2), generator=generator) for _ in views]

    def judged(colors: Callable[[Tensor, Tensor], Tensor]) -> float:
        """PSNR over white, of some rays of each view."""
        found, truth = [], []
        for (camera, image), place in zip(seen, pixels):
            rays = camera.rays(place.float() + 0.5)
            found.append(colors(rays.origins, rays.directions))
            alpha = torch.from_numpy(image.alpha)[place[:, 1], place[:, 0]].float()[:, None] / 255
            rgb = torch.from_numpy(image.rgb)[place[:, 1], place[:, 0]].float() / 255
            truth.append(rgb * alpha + 1 - alpha)
        return psnr(torch.cat(found), torch.cat(truth))

    fit = HashTrainer(dataset, FitOptions(seconds=20.0), torch.device("cpu"))

    def engine_colors(origins: Tensor, directions: Tensor) -> Tensor:
        result = fit.field.render_rays(fit.field.from_world(origins), directions)
        return result[:, :3] + 1 - result[:, 3:4]

    while (reached := judged(engine_colors)) < TARGET and fit.seconds < 60:
        for _ in range(5):
            fit.advance()
    found = [
        Row(f"engine: seconds to {TARGET:g} dB", fit.seconds, "s"),
        Row("engine: reached", reached, "dB", TARGET, reached >= TARGET),
    ]
    slow = NeRFTrainer(dataset, FitOptions(method="nerf", seconds=600.0), torch.device("cpu"))

    @torch.no_grad()
    def published_colors(origins: Tensor, directions: Tensor) -> Tensor:
        scene = slow.scene()
        local = (origins - torch.tensor(scene.placement.middle)) / scene.placement.metres_per_unit
        return scene.nerf.render_rays(local, directions, directions).fine.rgb  # white background is its default

    reached = 0.0
    while slow.seconds < PATIENCE * fit.seconds and reached < TARGET:
        slow.advance()
        if slow.step % 4 == 0:
            reached = judged(published_colors)
    ratio = slow.seconds / fit.seconds
    what = "seconds to" if reached >= TARGET else "seconds without reaching"
    return [
        *found,
        Row(f"published network: {what} {TARGET:g} dB", slow.seconds, "s"),
        Row(f"published network: reached after {slow.step} steps", reached, "dB"),
        Row("published network over engine: ratio, at least", ratio, "x", RATIO_TARGET, ratio >= RATIO_TARGET),
    ]
