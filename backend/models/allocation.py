"""Limit on allocations while a model is built: refuse one that is far larger than its file.

A checkpoint holds constructor arguments, and a number in them can ask for layers of any size or any number of layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from addon.wire.errors import UnsafeCheckpoint

MAX_CALLS = 5_000  # that make a tensor from sizes; the largest model here takes some 10^3


class _Ledger(TorchDispatchMode):
    """Dispatch mode that counts the bytes of tensors made from sizes alone, before they are allocated."""

    def __init__(self, max_bytes: int, name: str) -> None:
        super().__init__()
        self.left, self.calls_left, self.name = max_bytes, MAX_CALLS, name

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [part for arg in args for part in (arg if isinstance(arg, (list, tuple)) else (arg,))]
        if not any(isinstance(part, torch.Tensor) for part in given):
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            self.calls_left -= 1
            self.left -= _numel(args) * dtype.itemsize
        if self.left < 0 or self.calls_left < 0:
            raise UnsafeCheckpoint(
                f"{self.name} is refused: its arguments ask for a model many times larger than the tensors it holds."
            )
        return func(*args, **kwargs)


def _numel(args: Sequence[Any]) -> int:
    """Return the number of elements that a factory allocates: of its list of sizes, or up to its largest number."""
    for arg in args:
        if isinstance(arg, (list, tuple)) and all(isinstance(size, int) for size in arg):
            return math.prod(max(0, size) for size in arg)
    return max((abs(int(arg)) for arg in args if isinstance(arg, (int, float)) and math.isfinite(arg)), default=0)


@contextmanager
def allocation_limit(max_bytes: int, name: str) -> Iterator[None]:
    """Within, raise UnsafeCheckpoint before the tensors that are made from sizes exceed `max_bytes` together.

    name: of the file in the message. An endless Python list raises it too.
    """
    try:
        with _Ledger(max_bytes, name):
            yield
    except (MemoryError, OverflowError) as error:
        raise UnsafeCheckpoint(
            f"{name} is refused: its arguments ask for a model many times larger than the tensors it holds."
        ) from error
