"""Read a checkpoint into a tree of plain data, `Opaque` and tensors, without cycles and of bounded size."""

from __future__ import annotations

import mmap
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from addon.wire.errors import LatheError, Remedy, UnknownCheckpoint, UnreadableFile, UnsafeCheckpoint

from .containers import read_torch
from .machine import Budget
from .records import (
    Damaged,
    Limits,
    Opaque,
    Refused,
    Storage,
    TensorRecord,
    UnknownContainer,
    map_tensors,
    refuse,
)
from .tables import GlobalName, NumpyArray, NumpyDType


def _tidy(root: Any, limits: Limits) -> Any:
    """Return the tree in its final form: plain data, Opaque and TensorRecord, with no cycles and of bounded size.

    An object that is referred to n times counts n times: a walk over the tree must end.
    """
    done: dict[int, tuple[Any, int, int]] = {}  # id → (final form, nodes, depth)
    open_: set[int] = set()
    keep: list[Any] = []  # what ids refer to must stay alive
    pending: list[tuple[Any, bool]] = [(root, False)]
    while pending:
        node, ready = pending.pop()
        if isinstance(node, _LEAVES) or id(node) in done:
            continue
        children = list(_children(node))
        if not ready:
            if id(node) in open_:
                refuse("it holds something that contains itself")
            open_.add(id(node))
            keep.append(node)
            pending.append((node, True))
            pending.extend((child, False) for child in children)
            continue
        open_.discard(id(node))
        below = [done.get(id(child), (child, 1, 0)) for child in children]
        nodes, depth = 1 + sum(part[1] for part in below), 1 + max((part[2] for part in below), default=0)
        if nodes > limits.nodes:
            refuse(f"it unfolds into more than {limits.nodes} values")
        if depth > limits.depth:
            refuse(f"it nests more than {limits.depth} levels")
        done[id(node)] = (_final(node, [part[0] for part in below]), nodes, depth)
        keep.append(done[id(node)][0])
    return done[id(root)][0] if id(root) in done else root


_LEAVES = (str, int, float, bool, bytes, type(None), TensorRecord)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    if isinstance(node, (list, tuple)):
        return node
    if isinstance(node, Opaque):
        return (node.state,)
    if isinstance(node, NumpyArray):
        return node.objects or ()
    return ()


def _final(node: Any, parts: list[Any]) -> Any:
    if isinstance(node, dict):
        return dict(zip(node, parts, strict=True))
    if isinstance(node, list):
        return parts
    if isinstance(node, tuple):
        return tuple(parts)
    if isinstance(node, Opaque):
        if node.module.startswith("omegaconf."):
            return _omegaconf(node, parts[0])
        return Opaque(node.module, node.name, (), parts[0])
    if isinstance(node, NumpyArray):
        return parts if node.objects is not None else node.record
    if isinstance(node, GlobalName):
        return Opaque(node.module, node.name)
    if isinstance(node, Storage):
        return TensorRecord(node.dtype, (node.nbytes // node.dtype.size,), (1,), 0, node)
    if isinstance(node, NumpyDType):
        return node.kind
    if isinstance(node, set):
        return node
    return refuse(f"it holds a {type(node).__name__}")


def _omegaconf(node: Opaque, state: Any) -> Any:
    """Return the content of a DictConfig, ListConfig or AnyNode."""
    if isinstance(state, dict):
        return state["_content"] if "_content" in state else state.get("_val")
    return Opaque(node.module, node.name, (), state)


def read_records(path: Path, limits: Limits | None = None) -> Any:
    """Read a checkpoint into a tree whose tensors are TensorRecords over the mapped file.

    Raises:
        UnreadableFile: missing, empty or damaged.
        UnsafeCheckpoint: it tries to run code, or lies about its sizes; the message names what it tried.
        UnknownCheckpoint: an unknown container.
    """
    limits = limits or Limits()
    name = path.name
    again = Remedy("download_again", "Download the file again")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableFile(f"{path} is not a file.")
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise UnsafeCheckpoint(f"{name} has {size / 1e9:.1f} GB; the limit is {limits.file_bytes / 1e9:.1f} GB.")
        if size == 0:
            raise UnreadableFile(f"{name} is empty: the download did not finish.", remedy=again)
        with path.open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    return read_records_from(data, name, limits)


def read_records_from(data: memoryview, name: str, limits: Limits | None = None) -> Any:
    """Read a checkpoint from bytes; see `read_records`. name: what messages call it."""
    limits = limits or Limits()
    again = Remedy("download_again", "Download the file again")
    budget = Budget(limits, limits.opcodes, limits.tensor_bytes_per_file_byte * len(data) + (1 << 20), read_torch)
    try:
        return _tidy(read_torch(data, budget), limits)
    except LatheError:
        raise
    except Refused as error:
        raise UnsafeCheckpoint(f"{name} is refused: {error}.") from None
    except UnknownContainer as error:
        raise UnknownCheckpoint(f"{name} is not a checkpoint: {error}.") from None
    except Damaged as error:
        raise UnreadableFile(f"{name} is damaged: {error}. Download it again.", remedy=again) from None
    except (MemoryError, RecursionError):
        raise UnsafeCheckpoint(f"{name} is refused: it takes too much memory to read.") from None


def read_checkpoint(path: Path, *, limits: Limits | None = None) -> object:
    """Read a checkpoint in this process: a tree of dict, list, tuple, set, text, numbers, `torch.Tensor` and `Opaque`.

    For files from elsewhere use `isolated.read_checkpoint_isolated`, which adds limits of memory and time.

    Raises:
        UnreadableFile, UnsafeCheckpoint, UnknownCheckpoint: see `read_records`.
    """
    import torch

    def load(record: TensorRecord) -> torch.Tensor:
        dtype = TORCH_FROM_CODE[record.dtype.code]
        raw = bytearray(record.to_bytes())
        flat = (
            torch.frombuffer(raw, dtype=getattr(torch, dtype)) if raw else torch.empty(0, dtype=getattr(torch, dtype))
        )
        return flat.reshape(record.shape)

    return map_tensors(read_records(Path(path), limits), load)


TORCH_FROM_CODE = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
