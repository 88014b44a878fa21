"""How Warp kernels are run: quietly, sliced over threads on a processor, whole on a CUDA device. Engines take `wp` from
here, so that it is started before.

A launch on the CPU is one sequential loop that releases the interpreter's lock, so the work is cut into slices
(`slices.py`). Kernels are compiled the first time, by the compiler inside the Warp wheel, and kept in a cache on disk:
`warm_up` does that behind a progress bar.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch
import warp as wp

from ..threads import in_slices

__all__ = ["launch", "launch_cuda", "wp"]


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """What native code writes to stderr goes nowhere."""
    try:
        kept = os.dup(2)
    except OSError:  # a process without one
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
# Warp warns of a machine without an NVIDIA driver, which is nothing to be warned of; what is wrong raises
with contextlib.nullcontext() if torch.cuda.is_available() else _silent_stderr():
    wp.init()


def launch_cuda(kernel: Any, dim: int | tuple[int, ...], inputs: list[Any], device: torch.device) -> None:
    """Run a kernel on a CUDA device, in PyTorch's current stream: in order with its operations and its allocator."""
    stream = wp.stream_from_torch(torch.cuda.current_stream(device))
    wp.launch(kernel, dim, inputs=inputs, stream=stream)


def launch(kernel: Any, count: int, inputs: list[Any], device: torch.device, smallest: int = 1) -> None:
    """Run a kernel of (first, *inputs) for indices 0..count: whole on CUDA, in slices on the CPU.

    smallest: indices below which another thread is not worth its start.
    """
    if device.type == "cuda":
        launch_cuda(kernel, count, [0, *inputs], device)
        return

    def work(_: int, start: int, end: int) -> None:
        wp.launch(kernel, end - start, inputs=[start, *inputs], device="cpu")

    in_slices(work, count, smallest)
