"""Wall times and peak memory of work on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from .peak import peak_bytes


def seconds(work: Callable[[], object]) -> float:
    """Return the wall time of one call, until the device has finished."""
    synchronize()
    started = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - started


def synchronize() -> None:
    """Wait until the accelerator, if there is one, has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def median(work: Callable[[], object], repeats: int) -> float:
    """Return the median wall time of several calls after one that warms up."""
    work()
    return statistics.median(seconds(work) for _ in range(repeats))


def alternated(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return median wall times, each work taken in turn, after one round that warms up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: statistics.median(found) for name, found in times.items()}


def matrix_rate(device: torch.device, size: int, budget: float) -> float:
    """Return floating point operations a second of the best of many products of float32 matrices [size, size], taken
    for `budget` seconds."""
    a, b = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    out = torch.empty_like(a)

    def product() -> None:
        torch.mm(a, b, out=out)

    product()
    best, end = seconds(product), time.perf_counter() + budget
    while time.perf_counter() < end:
        best = min(best, seconds(product))
    return 2 * size**3 / best


def peak_bytes_on(device: torch.device) -> int:
    """Return the largest memory that PyTorch has allocated on a CUDA device so far; elsewhere see `peak_bytes`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_bytes()
