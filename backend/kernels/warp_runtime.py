"""How Warp kernels are run: quietly, sliced over threads on a processor, whole on a CUDA device.

A launch on the CPU is one sequential loop that releases the interpreter's lock, so the work is cut into slices
(`slices.py`). Kernels are compiled the first time, by the compiler inside the Warp wheel, and kept in a cache on disk:
`warm_up` does that behind a progress bar.
"""

from __future__ import annotations

from typing import Any

import torch
import warp as wp

from .slices import in_slices

wp.config.log_level = wp.LOG_WARNING
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
