"""Compilation of kernels before they are needed, with progress.

Warp compiles a kernel at its first use and caches the result in a folder of the user; later processes load it in
milliseconds. Where that folder cannot be written, a folder for temporary files replaces it.
"""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from ..progress import Progress, silent
from .compositing import composite_packed
from .hash_encoding import HashSpec, hash_encode
from .radiance_mlp import RadianceMlpSpec, radiance_mlp
from .ray_marching import OccupancyBits, Steps, march_rays
from .ray_rendering import render_rays
from .sparse_adam import AdamState, sparse_adam
from .visible_samples import visible_samples

log = logging.getLogger(__name__)

TEXT = "Preparing kernels (first time only)"

_ready: set[tuple[HashSpec, RadianceMlpSpec, str, bool]] = set()


def warm_up(
    spec: HashSpec, mlp: RadianceMlpSpec, device: torch.device, progress: Progress = silent, *, training: bool = True
) -> None:
    """Run every kernel that a field of these shapes needs on a few samples, once in a process.

    Args:
        training: also compile the backward pass and the optimiser.

    Raises:
        Cancelled: by `progress`, between kernels.
    """
    if device.type not in ("cpu", "cuda"):
        return  # PyTorch alone works there
    key = (spec, mlp, str(device), training)
    if key in _ready or (spec, mlp, str(device), True) in _ready:
        return
    use_writable_cache()
    started = time.perf_counter()
    random = torch.Generator().manual_seed(0)
    spec = replace(spec, log2_size=min(spec.log2_size, 3))  # kernels do not depend on the table's size
    table = torch.zeros(spec.num_entries, spec.num_features, device=device)
    networks = mlp.initial(random).to(device)
    full = OccupancyBits(torch.ones(8, 8, 8, dtype=torch.bool, device=device))
    origins = torch.tensor([[0.5, 0.5, -0.5]], device=device)
    directions = torch.tensor([[0.0, 0.0, 1.0]], device=device)
    near, far = origins.new_zeros(1), origins.new_full((1,), 2.0)
    view = origins.new_zeros(1, mlp.view)
    state = AdamState.zeros(table) if training else None

    progress(0.0, TEXT)
    samples = march_rays(origins, directions, near, far, full, Steps(0.1))
    progress(0.2, TEXT)
    render_rays(
        origins, directions, near, far, full, Steps(0.1), table, networks, spec, mlp, threshold=0.1, faintest=0.1
    )
    progress(0.3, TEXT)
    visible_samples(samples, table, networks, spec, mlp)
    progress(0.4, TEXT)
    leaves = [samples.points, table, networks]
    if training:
        leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    encoded = hash_encode(leaves[0], leaves[1], spec, impl="warp")  # training takes the table's gradient from there
    raw = radiance_mlp(encoded, view, samples.rays, leaves[2], mlp)
    progress(0.6, TEXT)
    pixels = composite_packed(raw, samples.t, samples.lengths, samples.offsets)
    if training:
        progress(0.7, TEXT)
        pixels.rgb.sum().backward()
        progress(0.9, TEXT)
        assert state is not None
        sparse_adam(table, state, 1e-3, 1)
    progress(1.0, TEXT)
    _ready.add(key)
    log.info("kernels ready on %s after %.1f s", device, time.perf_counter() - started)


def use_writable_cache() -> Path:
    """Return the folder that compiled kernels are kept in, after making sure that it can be written to."""
    from .warp_runtime import wp  # initialised, its configuration names the folder

    folder = Path(wp.config.kernel_cache_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        instead = Path(tempfile.gettempdir()) / f"latent-lathe-kernels-{wp.config.version}"
        instead.mkdir(parents=True, exist_ok=True)
        log.warning("compiled kernels cannot be kept in %s (%s); they go to %s", folder, error, instead)
        wp.config.kernel_cache_dir = str(instead)
        return instead
