"""Contents of a foreign checkpoint as inert data: limits, objects, element types, storages and tensor records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ...generators import checkpoint_classes


@dataclass(frozen=True)
class Limits:
    """Limits on a foreign file: sizes, work, and the classes it may name."""

    file_bytes: int = 1_800_000_000  # the largest official checkpoints have some 10^8
    opcodes: int = 1_000_000  # official pickles have some 10^4
    depth: int = 120  # of nested containers; a module in a module is three
    nodes: int = 2_000_000  # of the tree, counting an object once for each place that refers to it
    nested_files: int = 2  # files inside files: storages in StyleGAN pickles are themselves made by torch.save
    tensor_bytes_per_file_byte: int = 4  # expanded views may make tensors larger than their storages
    memory_bytes: int = 1_500 << 20  # address space of the child process, where the mapped file leaves that much
    seconds: float = 120.0  # of the child process
    allowed_classes: tuple[str, ...] = field(default_factory=checkpoint_classes)
    """Starts of full class names whose objects are recorded as Opaque, besides those of PyTorch (`tables.CLASSES`)."""


@dataclass(eq=False)
class Opaque:
    """A saved object without its class: the class's name and the saved state. None of its code has run."""

    module: str
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None

    def __repr__(self) -> str:
        return f"Opaque({self.module}.{self.name})"


@dataclass(frozen=True)
class DType:
    """An element type: its safetensors name, bytes per element, and struct letter for single values."""

    code: str
    size: int
    letter: str = ""


BOOL, U8, I8, I16 = DType("BOOL", 1, "?"), DType("U8", 1, "B"), DType("I8", 1, "b"), DType("I16", 2, "h")
U16, U32, U64 = DType("U16", 2, "H"), DType("U32", 4, "I"), DType("U64", 8, "Q")
I32, I64 = DType("I32", 4, "i"), DType("I64", 8, "q")
F16, BF16, F32, F64 = DType("F16", 2, "e"), DType("BF16", 2), DType("F32", 4, "f"), DType("F64", 8, "d")

STORAGES: dict[str, DType] = {
    "FloatStorage": F32,
    "DoubleStorage": F64,
    "HalfStorage": F16,
    "BFloat16Storage": BF16,
    "LongStorage": I64,
    "IntStorage": I32,
    "ShortStorage": I16,
    "CharStorage": I8,
    "ByteStorage": U8,
    "BoolStorage": BOOL,
    "UntypedStorage": U8,
}
TORCH_DTYPES: dict[str, DType] = {
    "float32": F32,
    "float": F32,
    "float64": F64,
    "double": F64,
    "float16": F16,
    "half": F16,
    "bfloat16": BF16,
    "int64": I64,
    "long": I64,
    "int32": I32,
    "int": I32,
    "int16": I16,
    "short": I16,
    "int8": I8,
    "uint8": U8,
    "bool": BOOL,
}
NUMPY_DTYPES: dict[str, DType] = {
    "f2": F16,
    "f4": F32,
    "f8": F64,
    "i1": I8,
    "i2": I16,
    "i4": I32,
    "i8": I64,
    "u1": U8,
    "u2": U16,
    "u4": U32,
    "u8": U64,
    "b1": BOOL,
}


@dataclass(eq=False)
class Storage:
    """Bytes behind tensors. `data` is set once the bytes are known to be in the file."""

    dtype: DType
    nbytes: int
    data: memoryview | None = None
    root: Storage | None = None  # a legacy view: `nbytes` of another storage, from byte `start`
    start: int = 0

    def bytes(self) -> memoryview:
        """Return the bytes. Raises UnsafeCheckpoint where the file has none or too few."""
        data = self.data if self.root is None else self.root.bytes()[self.start : self.start + self.nbytes]
        if data is None or len(data) < self.nbytes:
            refuse(f"it declares a storage of {self.nbytes} bytes that is not in the file")
        return data


@dataclass(eq=False)
class TensorRecord:
    """A tensor that is described, not read: element (i, j, …) lies at offset + i·strides[0] + j·strides[1] + …"""

    dtype: DType
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements
    offset: int  # in elements
    storage: Storage
    big_endian: bool = False

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.size

    def is_contiguous(self) -> bool:
        """Return whether the elements are contiguous in C order."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True

    def to_bytes(self) -> bytes | memoryview:
        """Return the elements in C order, little endian."""
        raw = self.storage.bytes()
        if self.numel == 0:
            return b""
        if self.is_contiguous() and not self.big_endian:
            start = self.offset * self.dtype.size
            return raw[start : start + self.nbytes]
        import numpy as np

        kind = f"{'>' if self.big_endian else '<'}u{self.dtype.size}"
        flat = np.frombuffer(raw, kind, len(raw) // self.dtype.size)  # the storage may have some bytes more
        strides = [stride * self.dtype.size for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides, writeable=False)
        return view.astype(f"<u{self.dtype.size}").tobytes()


class Refused(Exception):
    """The file tries something that no checkpoint needs."""


class Damaged(Exception):
    """The file ends too early or is not what its first bytes say."""


class UnknownContainer(Exception):
    """The container is unknown."""


def refuse(why: str) -> NoReturn:
    """Raise Refused."""
    raise Refused(why)


def map_tensors(tree: Any, load: Callable[[TensorRecord], Any]) -> Any:
    """Return the tree with each TensorRecord replaced by load(record); a record that occurs twice is loaded once."""
    loaded: dict[int, Any] = {}

    def walk(node: Any) -> Any:
        if isinstance(node, TensorRecord):
            if id(node) not in loaded:
                loaded[id(node)] = load(node)
            return loaded[id(node)]
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        if isinstance(node, tuple):
            return tuple(walk(value) for value in node)
        if isinstance(node, Opaque):
            return Opaque(node.module, node.name, node.args, walk(node.state))
        return node

    return walk(tree)
