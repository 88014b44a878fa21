"""Modules of tiny-cuda-nn (github.com/NVlabs/tiny-cuda-nn), run with our parameters. CUDA, where it is installed.

A module there owns parameters, flat and float32, and converts them to its own precision at the start of its forward
pass. With ours in their place, gradients reach ours and nothing is copied back.

It must have been built for the device, and this project has never run it on one: before "auto" uses it, it has to agree
with the definition there (`reason_against`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call


def make(what: str, build: Callable[[Any], Any], num_parameters: int, device: torch.device) -> Any:
    """Return the module that build(package) makes on a device.

    Raises:
        RuntimeError: the package is not there or does not run on the device, or the module has another number of
            parameters than ours is laid out for.
    """
    try:
        import tinycudann
    except (ImportError, OSError) as error:  # OSError: it was built for another device
        raise RuntimeError(
            f"{what}: the tinycudann engine needs the package tinycudann, built for this device; the other engines "
            f"need nothing ({error})"
        ) from error
    with torch.cuda.device(device):
        module = build(tinycudann)
    if module.params.numel() != num_parameters:
        raise RuntimeError(
            f"{what}: tinycudann has {module.params.numel()} parameters where {num_parameters} are expected"
        )
    module.params = torch.nn.Parameter(module.params.detach()[:0].clone())  # its own would only take memory
    return module


def run(module: Any, parameters: Tensor, x: Tensor) -> Tensor:
    """Return the outputs of a module for x [N, inputs], N > 0, with these flat parameters: float32 [N, outputs].
    Differentiable in both."""
    result: Tensor = functional_call(module, {"params": parameters}, (x,))
    return result.float()


def check_device(what: str, device: torch.device) -> None:
    """Raise RuntimeError on a device that the package does not support."""
    if device.type != "cuda":
        raise RuntimeError(f"{what}: the tinycudann engine runs on CUDA, not on {device}")


@torch.no_grad()
def reason_against(both: Callable[[], tuple[Tensor, Tensor]], tolerance: float) -> str:
    """Return why "auto" takes another engine here; nothing if there is no reason.

    Args:
        both: returns the results of the engine and of the definition for an example.
        tolerance: on their largest difference.
    """
    if importlib.util.find_spec("tinycudann") is None:
        return "tinycudann is not installed"
    try:
        got, expected = both()
    except Exception as error:  # any error of another version of the package
        return f"tinycudann does not run: {type(error).__name__}: {error}"
    difference = float((got - expected).abs().max())
    return "" if difference <= tolerance else f"tinycudann is {difference:.2g} away from the definition"
