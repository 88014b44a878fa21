"""Launches of Warp kernels: divided among threads on a processor, in one launch on a CUDA device. Engines import `wp`
from here, so that Warp is initialised first, without its messages.

A launch on the CPU is one sequential loop that releases the interpreter's lock, so the work is divided (`threads.py`).
Kernels are compiled at their first use, by the compiler inside the Warp wheel, and cached on disk: `warm_up` does that
behind a progress bar.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import warp as wp

from ..threads import run_on_threads

__all__ = ["launch", "launch_cuda", "wp"]


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr."""
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


wp.config.log_level = wp.LOG_WARNING
# Warp warns about a machine without an NVIDIA driver, which is normal here; real faults raise
with contextlib.nullcontext() if torch.cuda.is_available() else _silent_stderr():
    wp.init()


def launch_cuda(kernel: Any, dim: int | tuple[int, ...], inputs: list[Any], device: torch.device) -> None:
    """Run a kernel on a CUDA device, in PyTorch's current stream: in order with its operations and its allocator."""
    stream = wp.stream_from_torch(torch.cuda.current_stream(device))
    wp.launch(kernel, dim, inputs=inputs, stream=stream)


def launch(kernel: Any, count: int, inputs: list[Any], device: torch.device, smallest: int = 1) -> None:
    """Run a kernel of (first, *inputs) for indices 0..count: in one launch on CUDA, divided among threads on the CPU.

    smallest: fewest indices for which another thread is worth its start.
    """
    if device.type == "cuda":
        launch_cuda(kernel, count, [0, *inputs], device)
        return

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, end - start, inputs=[start, *inputs], device="cpu")

    run_on_threads(work, count, smallest)
