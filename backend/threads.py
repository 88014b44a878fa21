"""Division of work among a few threads of a processor. Does not import Warp."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch

_PROCESSORS = os.cpu_count() or 1  # asking takes longer than a small kernel


@lru_cache(maxsize=1)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "kernels")


def num_threads() -> int:
    """Return the number of threads that share the work of a kernel: as many as PyTorch uses."""
    return max(1, min(torch.get_num_threads(), _PROCESSORS))


def run_on_threads(work: Callable[[int, int, int], None], count: int, smallest: int = 1) -> None:
    """Call work(thread, start, end) for consecutive parts of range(count), in parallel on several threads.

    smallest: fewest items for which another thread is worth its start.
    """
    parts = max(1, min(num_threads(), count // max(smallest, 1)))
    if parts == 1:
        work(0, 0, count)
        return
    edges = [count * number // parts for number in range(parts + 1)]
    futures = [
        _pool(num_threads() - 1).submit(work, number, edges[number], edges[number + 1]) for number in range(1, parts)
    ]
    try:
        work(0, edges[0], edges[1])
    finally:
        for future in futures:
            future.result()


def num_threads_on(device: torch.device) -> int:
    """Return the number of threads that `run_on_torch_threads` uses at most on a device."""
    return num_threads() if device.type == "cpu" else 1


def run_on_torch_threads(work: Callable[[int, int, int], None], count: int, device: torch.device) -> None:
    """Call work(thread, start, end) for consecutive parts of range(count); on a processor in parallel on several
    threads, each of which runs PyTorch's operations single-threaded: many small operations lose time synchronising.

    Autograd's mode belongs to a thread, so gradients are off here."""
    if num_threads_on(device) == 1:
        work(0, 0, count)
        return

    def single_threaded(number: int, start: int, end: int) -> None:
        threads = torch.get_num_threads()  # a setting of this thread alone
        torch.set_num_threads(1)
        try:
            with torch.no_grad():
                work(number, start, end)
        finally:
            torch.set_num_threads(threads)

    run_on_threads(single_threaded, count)
