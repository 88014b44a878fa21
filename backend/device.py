"""Choice of the device, and of everything that depends on it: precision, engines of the kernels, threads.

Precision. Models and fits compute in float32 everywhere. TF32, which PyTorch allows in convolutions on CUDA by default,
is off in matrix products and convolutions, as in the official code of EG3D and StyleGAN: a render on a GPU is the
render that parity was proved with. bfloat16 is not used. tiny-cuda-nn computes in half precision inside its networks;
it is used on CUDA where it is installed and agrees with the definition (`kernels.engine_choice`).
"""

from __future__ import annotations

import importlib.util
import logging
from functools import lru_cache

import torch

from addon.wire.errors import NotSupported, Remedy

log = logging.getLogger(__name__)

ENGINES: dict[str, dict[str, str]] = {
    "hash_encode": {"cpu": "warp", "cuda": "warp"},
    "radiance_mlp": {"cpu": "fused"},
    "march_rays": {"cpu": "warp", "cuda": "warp"},
    "composite_packed": {"cpu": "warp", "cuda": "warp"},
    "sparse_adam": {"cpu": "warp"},
    "visible_samples": {"cpu": "fused"},
    "render_rays": {"cpu": "fused", "cuda": "stages", "mps": "stages"},
    "winograd": {"cpu": "fused"},
    "sine": {"cpu": "fused"},
}
"""Operation of `backend.kernels` and type of device → the fastest engine, "reference" where none is named. On CUDA,
tinycudann takes the place of those of hash_encode and radiance_mlp where it can be used."""


def best_device() -> str:
    """Return the name of the fastest device that PyTorch can use on this machine: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_of(name: str | None) -> torch.device:
    """Return the device of this name, or the fastest one, with its precision set; log all choices once.

    Raises:
        NotSupported: PyTorch cannot compute on it here.
    """
    try:
        device = torch.device(name or best_device())
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # PyTorch built without CUDA fails an assertion
        raise NotSupported(
            f"PyTorch cannot use the device {name!r} here ({str(error).splitlines()[0]}). The fastest one that it can "
            f"use is {best_device()!r}.",
            remedy=Remedy("use_auto_device", "Choose the device automatically"),
        ) from error
    _set_up(device)
    return device


def fastest_engine(operation: str, device: torch.device) -> str:
    """Return the engine of an operation of `backend.kernels` that "auto" stands for on a device, see ENGINES."""
    return ENGINES[operation].get(device.type, "reference")


def choices(device: torch.device) -> str:
    """Return all choices for a device in one line."""
    name = device.type
    if name == "cuda" and torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability(device)
        name = f"{device} ({torch.cuda.get_device_name(device)}, compute capability {major}.{minor})"
    precision = "float32, TF32 off" if device.type == "cuda" else "float32"
    package = "tiny-cuda-nn where it agrees" if _has_tinycudann() else "no tiny-cuda-nn"
    engines = ", ".join(f"{operation} {fastest_engine(operation, device)}" for operation in ENGINES)
    return (
        f"device {name}; PyTorch {torch.__version__}; {precision}; {torch.get_num_threads()} threads; {engines}"
        f"{'; ' + package if device.type == 'cuda' else ''}"
    )


@lru_cache(maxsize=8)
def _set_up(device: torch.device) -> None:
    if device.type == "cuda":
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    log.info("%s", choices(device))


def _has_tinycudann() -> bool:
    return importlib.util.find_spec("tinycudann") is not None
