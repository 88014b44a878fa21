"""Read pickled checkpoints without running any of their code.

A pickle is a program for a small stack machine, and the ordinary machine lets that program call any function. This one
does not: what a file may build is written down in two tables, `CONSTRUCTORS` (functions of ours that turn plain data
into plain data, under the official names) and `RECORDS` (classes whose objects become an inert `Opaque`). Anything else
that a file tries to call or to name is refused, with its name. No class or function named in a file is ever imported.

Containers: what torch.save writes (zip since 1.6, and the legacy stream before), plain pickles (with the persistent
classes of StyleGAN and its heirs, whose embedded source is dropped unread, and omegaconf), numpy's .npy with objects.

Vocabulary: a *record* is a tensor that is described but not read yet: `TensorRecord` (dtype, shape, strides, offset)
over a `Storage` (bytes of the file). Sizes are checked against the bytes that are there before anything is allocated.
Reading needs no torch, so that a child process with tight limits can do it (`isolated`).
"""

from __future__ import annotations

import ast
import math
import mmap
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

from addon.wire.errors import LatheError, Remedy, UnknownCheckpoint, UnreadableFile, UnsafeCheckpoint


@dataclass(frozen=True)
class Limits:
    """What a foreign file may take."""

    file_bytes: int = 1_800_000_000  # the largest official checkpoints have some 10^8
    opcodes: int = 1_000_000  # official pickles have some 10^4
    depth: int = 120  # of nested containers; a module in a module is three
    nodes: int = 2_000_000  # of the tree, counting an object once for each place that refers to it
    nested_files: int = 2  # files inside files: storages in StyleGAN pickles are themselves made by torch.save
    tensor_bytes_per_file_byte: int = 4  # expanded views may make tensors larger than their storages
    memory_bytes: int = 1_500 << 20  # address space of the child process, where the mapped file leaves that much
    seconds: float = 120.0  # of the child process


# ---------------------------------------------------------------------------------------------------------------- data


@dataclass(eq=False)
class Opaque:
    """An object of a class that is not here: which class, and the state that was saved. None of its code has run."""

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
    """Bytes that tensors look at. `data` is filled once they are known to be there."""

    dtype: DType
    nbytes: int
    data: memoryview | None = None
    root: Storage | None = None  # a legacy view: `nbytes` of another storage, from `start`
    start: int = 0

    def bytes(self) -> memoryview:
        """Return the bytes. Raises UnsafeCheckpoint where the file has none or too few."""
        data = self.data if self.root is None else self.root.bytes()[self.start : self.start + self.nbytes]
        if data is None or len(data) < self.nbytes:
            _refuse(f"it declares a storage of {self.nbytes} bytes that is not in the file")
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
        """Say whether the elements lie one after the other in C order."""
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

        flat = np.frombuffer(raw, dtype=f"{'>' if self.big_endian else '<'}u{self.dtype.size}", offset=0, count=-1)
        strides = [stride * self.dtype.size for stride in self.strides]
        view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides, writeable=False)
        return view.astype(f"<u{self.dtype.size}").tobytes()


@dataclass(frozen=True)
class _Global:
    """A name that a file refers to. It stands for nothing until a table says what."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class _Array:
    """A numpy array between `_reconstruct` and its state."""

    record: TensorRecord | None = None
    objects: list[Any] | None = None


@dataclass(eq=False)
class _NumpyDType:
    kind: str  # such as "f4", or "O8"
    big_endian: bool = False


class _Mark:
    """The machine's stack marker."""


_MARK = _Mark()


class _Refused(Exception):
    """The file tries something that no checkpoint needs."""


class _Damaged(Exception):
    """The file ends too early or is not what its first bytes say."""


class _Unknown(Exception):
    """The container is none of those known here."""


def _refuse(why: str) -> NoReturn:
    raise _Refused(why)


# -------------------------------------------------------------------------------------------------------------- tables

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,9}")

# Classes whose saved objects become an Opaque: the modules of torch, and of the official code we import from.
RECORDS: tuple[str, ...] = (
    "torch.nn.modules.",
    "torch.nn.parallel.",
    "torch.nn.utils.",
    "torch.optim.",
    "torch.cuda.amp.grad_scaler.",
    "torch.amp.grad_scaler.",
    "torch_ema.",  # pi-GAN
    "siren.",
    "generators.",
    "discriminators.",
    "torch_utils.",  # StyleGAN, EG3D, StyleNeRF
    "training.",
    "dnnlib.util.",
    "omegaconf.",
    "graf.",
    "submodules.",
    "networks.",  # DeepSDF, VON
    "networks_3d.",
    "models.",
    "model.",  # 3D-GAN ports, StyleSDF
    "volume_renderer.",
    "run_nerf_helpers.",
    "argparse.Namespace",
)
# Subclasses of dict and list that hold nothing else.
DICTS = {
    ("collections", "OrderedDict"),
    ("dnnlib.util", "EasyDict"),
    ("dnnlib", "EasyDict"),
    ("easydict", "EasyDict"),
    ("builtins", "dict"),
    ("__builtin__", "dict"),
}
# Names that may stand as a value; they become an Opaque without state and are never called.
NAMES: tuple[str, ...] = ("typing.", "torch.nn.functional.", "torch.nn.init.")
_BUILTIN_TYPES = {
    "dict",
    "list",
    "tuple",
    "set",
    "frozenset",
    "str",
    "bytes",
    "int",
    "float",
    "bool",
    "object",
    "complex",
}

Constructor = Callable[["_Machine", tuple[Any, ...]], Any]


def _rebuild_tensor(machine: _Machine, args: tuple[Any, ...]) -> TensorRecord:
    storage, offset, shape, strides = args[:4]
    dtype = storage.dtype if isinstance(storage, Storage) else None
    return machine.tensor(storage, dtype, offset, shape, strides)


def _rebuild_tensor_v3(machine: _Machine, args: tuple[Any, ...]) -> TensorRecord:
    storage, offset, shape, strides, _requires_grad, _hooks, dtype = args[:7]
    if not isinstance(dtype, _Global) or dtype.module != "torch" or dtype.name not in TORCH_DTYPES:
        _refuse(f"it declares a tensor of element type {dtype}")
    return machine.tensor(storage, TORCH_DTYPES[dtype.name], offset, shape, strides)


def _rebuild_parameter(machine: _Machine, args: tuple[Any, ...]) -> Any:
    return _expect(args[0], TensorRecord, "the data of a parameter")


def _rebuild_from_type(machine: _Machine, args: tuple[Any, ...]) -> Any:
    function, _type, inner = args[:3]
    if not isinstance(function, _Global) or (function.module, function.name) not in _TENSOR_BUILDERS:
        _refuse(f"it tries to call {function}")
    return _TENSOR_BUILDERS[function.module, function.name](machine, _expect(inner, tuple, "the arguments of a tensor"))


def _load_from_bytes(machine: _Machine, args: tuple[Any, ...]) -> Any:
    return machine.nested(_expect(args[0], bytes, "a file inside the file"))


def _persistent_object(machine: _Machine, args: tuple[Any, ...]) -> Opaque:
    """StyleGAN's classes that carry their source: the state is kept, the source is dropped unread."""
    meta = _expect(args[0], dict, "the description of a persistent object")
    if meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
        _refuse("it holds a persistent object that is not of a class")
    state = meta.get("state")
    if state is not None and not isinstance(state, dict):
        _refuse("it holds a persistent object with a state that is not a dictionary")
    return Opaque("torch_utils.persistence", meta["class_name"], (), state)


def _ordered_dict(machine: _Machine, args: tuple[Any, ...]) -> dict[Any, Any]:
    if not args:
        return {}
    pairs = (
        args[0].items() if isinstance(args[0], dict) else _expect(args[0], (list, tuple), "the content of a dictionary")
    )
    machine.charge(len(pairs))
    made: dict[Any, Any] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            _refuse("it makes a dictionary of things that are not pairs")
        made[_key(pair[0])] = pair[1]
    return made


def _default_dict(machine: _Machine, args: tuple[Any, ...]) -> dict[Any, Any]:
    return _ordered_dict(machine, args[1:])


def _items_of(machine: _Machine, args: tuple[Any, ...]) -> list[Any]:
    if not args:
        return []
    items = _expect(args[0], (list, tuple, set), "the content of a collection")
    machine.charge(len(items))
    return list(items)


def _set(machine: _Machine, args: tuple[Any, ...]) -> set[Any]:
    return {_key(item) for item in _items_of(machine, args)}


def _tuple(machine: _Machine, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_items_of(machine, args))


def _bytes_of(machine: _Machine, args: tuple[Any, ...]) -> bytes:
    """`_codecs.encode(text, "latin1")`: how protocol 2 writes bytes."""
    text, encoding = (*args, "")[:2]
    if encoding not in ("latin1", "latin-1"):
        _refuse(f"it tries to encode text as {encoding!r}")
    machine.charge(len(_expect(text, str, "the content of bytes")) >> 4)
    return bytes(text.encode("latin1"))


def _bytearray(machine: _Machine, args: tuple[Any, ...]) -> bytes:
    """`bytearray(b"…")`, and `bytearray("…", "latin-1")` of protocol 2. It stays bytes: nothing writes to it."""
    if not args:
        return b""
    return _bytes_of(machine, args) if isinstance(args[0], str) else _expect(args[0], bytes, "the content of bytes")


def _text(machine: _Machine, args: tuple[Any, ...]) -> str:
    return "/".join(str(_expect(part, str, "a part of a path")) for part in args[:64])


def _generic_type(machine: _Machine, args: tuple[Any, ...]) -> Any:
    """`operator.getitem(typing.Optional, int)`: how omegaconf's types are written. The parameter is dropped."""
    if not isinstance(args[0], _Global) or args[0].module != "typing":
        _refuse("it tries to call operator.getitem, which no checkpoint needs")
    return args[0]


def _nothing(machine: _Machine, args: tuple[Any, ...]) -> None:
    """A function whose result no reader of weights needs."""


def _first(machine: _Machine, args: tuple[Any, ...]) -> Any:
    return _expect(args[0], (str, int, float, bool), "a plain value") if args else ""


def _reconstruct_object(machine: _Machine, args: tuple[Any, ...]) -> Any:
    """`copy_reg._reconstructor(cls, object, None)`: how protocols 0 and 1 make an object."""
    cls, base, state = args
    if not isinstance(cls, _Global) or not isinstance(base, _Global) or base.name not in ("object", "dict"):
        _refuse(f"it tries to make an object of {cls} on {base}")
    made = machine.new_object(cls, ())
    if isinstance(state, dict) and isinstance(made, dict):
        made.update(state)
    elif state is not None:
        _refuse(f"it tries to make an object of {cls} from a {type(state).__name__}")
    return made


def _numpy_reconstruct(machine: _Machine, args: tuple[Any, ...]) -> _Array:
    if not isinstance(args[0], _Global) or (args[0].module, args[0].name) != ("numpy", "ndarray"):
        _refuse(f"it tries to make an array of {args[0]}")
    return _Array()


def _numpy_dtype(machine: _Machine, args: tuple[Any, ...]) -> _NumpyDType:
    name = _expect(args[0], str, "an element type").lstrip("<|=")
    kind = name.lstrip(">")
    if kind not in NUMPY_DTYPES and kind not in ("O", "O8", "O4"):
        _refuse(f"it holds a numpy array of element type {name!r}")
    return _NumpyDType(kind, name.startswith(">"))


def _numpy_scalar(machine: _Machine, args: tuple[Any, ...]) -> Any:
    dtype, raw = _expect(args[0], _NumpyDType, "the type of a number"), _as_bytes(args[1])
    if dtype.kind not in NUMPY_DTYPES or len(raw) != NUMPY_DTYPES[dtype.kind].size:
        _refuse("it holds a number whose bytes do not fit its type")
    return struct.unpack((">" if dtype.big_endian else "<") + NUMPY_DTYPES[dtype.kind].letter, raw)[0]


def _numpy_frombuffer(machine: _Machine, args: tuple[Any, ...]) -> TensorRecord:
    raw, dtype, shape, order = args
    return machine.array(
        _as_bytes(raw), _expect(dtype, _NumpyDType, "the element type of an array"), shape, order == "F"
    )


_TENSOR_BUILDERS: dict[tuple[str, str], Constructor] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}

# What a file may call: (module, name) → our own function from plain data to plain data.
CONSTRUCTORS: dict[tuple[str, str], Constructor] = {
    **_TENSOR_BUILDERS,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
    ("torch", "Size"): _tuple,
    ("torch", "device"): _first,
    ("torch.serialization", "_get_layout"): _first,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("collections", "OrderedDict"): _ordered_dict,
    ("collections", "defaultdict"): _default_dict,
    ("_codecs", "encode"): _bytes_of,
    ("copy_reg", "_reconstructor"): _reconstruct_object,
    ("copyreg", "_reconstructor"): _reconstruct_object,
    ("numpy", "dtype"): _numpy_dtype,
    ("operator", "getitem"): _generic_type,
    ("_operator", "getitem"): _generic_type,
    ("torch.nn.backends.thnn", "_get_thnn_function_backend"): _nothing,  # modules saved by torch before 1.2
    ("pathlib", "PosixPath"): _text,
    ("pathlib", "WindowsPath"): _text,
    ("pathlib", "PurePosixPath"): _text,
    **{
        (module, name): made
        for module in ("builtins", "__builtin__")
        for name, made in {
            "set": _set,
            "frozenset": _set,
            "list": _items_of,
            "tuple": _tuple,
            "dict": _ordered_dict,
            "bytearray": _bytearray,
        }.items()
    },
    **{
        (f"numpy.{core}.{part}", name): made
        for core in ("core", "_core")
        for part, name, made in (
            ("multiarray", "_reconstruct", _numpy_reconstruct),
            ("multiarray", "scalar", _numpy_scalar),
            ("numeric", "_frombuffer", _numpy_frombuffer),
        )
    },
}


def _is_record(name: _Global) -> bool:
    full = str(name)
    return bool(_IDENTIFIER.fullmatch(name.name)) and any(full.startswith(prefix) for prefix in RECORDS)


def _is_value(name: _Global) -> bool:
    """Say whether a name may stand as a value without being called."""
    if name.module in ("builtins", "__builtin__"):
        return name.name in _BUILTIN_TYPES
    if name.module == "torch":
        return name.name in TORCH_DTYPES or name.name in STORAGES or name.name in ("Tensor", "strided")
    if name.module in ("torch.cuda", "torch.storage"):
        return name.name in STORAGES
    if name.module == "numpy":
        return name.name in ("ndarray", "float32", "float64", "int64", "int32", "uint8", "bool_")
    if (name.module, name.name) in (("torch.nn.parameter", "Parameter"), ("torch.nn.parameter", "Buffer")):
        return True
    return bool(_IDENTIFIER.fullmatch(name.name)) and any(str(name).startswith(prefix) for prefix in NAMES)


def _expect(value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    if not isinstance(value, kind):
        _refuse(f"{what} is of type {_type_name(value)}")
    return value


def _type_name(value: Any) -> str:
    return str(value) if isinstance(value, _Global) else type(value).__name__.lstrip("_")


def _as_bytes(value: Any) -> bytes:
    """Bytes, or the text that stands for bytes in files of Python 2."""
    if isinstance(value, str):
        try:
            return value.encode("latin1")
        except UnicodeEncodeError:
            _refuse("it holds text where bytes belong")
    return bytes(_expect(value, bytes, "the content of bytes"))


def _key(value: Any, depth: int = 0) -> Any:
    """Return a value that may be a dictionary key: hashing it takes no time and no deep recursion."""
    if value is None or isinstance(value, (str, float, bool, bytes)):
        return value
    if isinstance(value, int) and abs(value) < 1 << 60:  # larger ones can be chosen so that all their hashes are equal
        return value
    if isinstance(value, tuple) and depth < 3 and len(value) <= 64:
        return tuple(_key(item, depth + 1) for item in value)
    if isinstance(value, _Global):
        return str(value)
    _refuse(f"a key of a dictionary is of type {_type_name(value)}, or too large")


def _sizes(values: Any, what: str) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or len(values) > 16:
        _refuse(f"it declares a tensor with {what} that are not up to 16 numbers")
    for value in values:
        if type(value) is not int or not 0 <= value < 1 << 48:
            _refuse(f"it declares a tensor with {what} {list(values)}")
    return tuple(values)


# ------------------------------------------------------------------------------------------------------------- machine


@dataclass
class _Budget:
    """What is left of the limits; shared by files inside files."""

    limits: Limits
    opcodes: int
    tensor_bytes: int
    nesting: int = 0


PersistentLoad = Callable[[Any], "Storage | _Global"]


@dataclass
class _Machine:
    """The pickle machine for one stream. `run` gives one object and the position after it."""

    data: memoryview
    budget: _Budget
    persistent: PersistentLoad | None = None
    position: int = 0
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self) -> Any:
        """Run until STOP; return the object. May be called again for the next pickle of the same stream."""
        self.stack, self.memo = [], {}
        while True:
            self.charge(1)
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                value = self.pop()
                if self.stack:
                    raise _Damaged("values are left over when the pickle ends")
                return value
            operation = _OPERATIONS.get(code)
            if operation is None:
                self._unknown(code)
            operation(self)

    def _unknown(self, code: int) -> NoReturn:
        if code in (0x82, 0x83, 0x84):
            _refuse("it uses extension codes, which name functions that only its writer knows")
        if code in (0x97, 0x98):
            _refuse("it uses buffers that are outside the file")
        raise _Damaged(f"byte {code:#04x} at position {self.position - 1} is no pickle instruction")

    # -- reading

    def charge(self, work: int) -> None:
        """Count work against the limit. Raises _Refused when it is spent."""
        self.budget.opcodes -= work
        if self.budget.opcodes < 0:
            _refuse(f"it takes more than {self.budget.limits.opcodes} steps to read")

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.position:
            raise _Damaged("it ends in the middle")
        self.position += count
        return self.data[self.position - count : self.position]

    def line(self) -> str:
        end = self.position
        limit = min(len(self.data), self.position + 100_000)
        while end < limit and self.data[end] != 0x0A:
            end += 1
        if end == limit:
            raise _Damaged("a line of its pickle does not end")
        text = bytes(self.take(end - self.position))
        self.position += 1
        return text.decode("latin1")

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    # -- the stack

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise _Damaged("an instruction finds nothing to work on")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise _Damaged("an instruction finds nothing to work on")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise _Damaged("a mark is missing")

    # -- making things

    def find(self, module: str, name: str) -> _Global:
        """Return a name that some table knows. Raises _Refused for any other."""
        found = _Global(module, name)
        key = (module, name)
        if key in CONSTRUCTORS or key in DICTS or _is_value(found):
            return found
        if _MODULE.fullmatch(module) and _is_record(found):
            return found
        _refuse(f"it tries to use {_printable(module)}.{_printable(name)}, which no checkpoint needs")

    def call(self, function: Any, args: Any) -> Any:
        if not isinstance(function, _Global):
            _refuse(f"it tries to call something of type {_type_name(function)}")
        if not isinstance(args, tuple):
            _refuse(f"it tries to call {function} with something that is not a list of arguments")
        made = CONSTRUCTORS.get((function.module, function.name))
        if made is None:
            if (function.module, function.name) in DICTS:
                return _ordered_dict(self, args)
            _refuse(f"it tries to call {function}, which no checkpoint needs")
        try:
            return made(self, args)
        except (IndexError, ValueError, TypeError, struct.error) as error:
            _refuse(f"it calls {function} with arguments that do not fit ({error})")

    def new_object(self, cls: Any, args: Any) -> Any:
        if not isinstance(cls, _Global):
            _refuse(f"it tries to make an object of something of type {_type_name(cls)}")
        key = (cls.module, cls.name)
        if key in DICTS and args == ():
            return {}
        if key in CONSTRUCTORS:
            return self.call(cls, args)
        if not _is_record(cls):
            _refuse(f"it tries to make an object of {cls}, which no checkpoint needs")
        if args != ():
            _refuse(f"it tries to make an object of {cls} with arguments")
        return Opaque(cls.module, cls.name)

    def build(self, target: Any, state: Any) -> Any:
        """Give an object its state: what replaces it on the stack."""
        if isinstance(target, Opaque):
            if isinstance(state, tuple) and len(state) == 2:  # __dict__ and __slots__
                parts = [part for part in state if part is not None]
                if not all(isinstance(part, dict) for part in parts):
                    _refuse(f"it gives {target.module}.{target.name} a state that is not a dictionary")
                state = {key: value for part in parts for key, value in part.items()}
                self.charge(len(state))
            if target.state is not None:
                _refuse(f"it gives {target.module}.{target.name} a second state")
            if target.module.startswith("omegaconf.") and isinstance(state, dict):
                # A configuration node points back to its parent; only what it holds matters.
                state = {key: state[key] for key in ("_content", "_val") if key in state}
            target.state = state
            return None
        if isinstance(target, dict) and isinstance(state, dict):
            return None  # attributes of an OrderedDict, such as the `_metadata` of a state dict
        if isinstance(target, _NumpyDType) and isinstance(state, tuple) and len(state) >= 2:
            target.big_endian = state[1] == ">"
            return None
        if isinstance(target, _Array):
            return self._build_array(target, state)
        if isinstance(target, TensorRecord) and isinstance(state, dict):
            return None  # attributes of a parameter
        return _refuse(f"it tries to change something of type {_type_name(target)}")

    def _build_array(self, target: _Array, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _NumpyDType):
            _refuse("it holds a numpy array with an unknown state")
        if target.record is not None or target.objects is not None:
            _refuse("it gives a numpy array a second state")
        _version, shape, dtype, fortran, content = state
        if dtype.kind.startswith("O"):
            target.objects = _expect(content, list, "the content of an array")
            if math.prod(_sizes(shape, "sizes")) != len(target.objects):
                _refuse("it holds a numpy array with more or fewer objects than its shape says")
        else:
            target.record = self.array(_as_bytes(content), dtype, shape, bool(fortran))

    def array(self, raw: bytes | memoryview, dtype: _NumpyDType, shape: Any, fortran: bool) -> TensorRecord:
        """Return the record of a numpy array over `raw`."""
        if dtype.kind not in NUMPY_DTYPES:
            _refuse("it holds a numpy array of objects made of bytes")
        element = NUMPY_DTYPES[dtype.kind]
        sizes = _sizes(shape, "sizes")
        if math.prod(sizes) * element.size != len(raw):
            _refuse(f"it declares an array {list(sizes)} over {len(raw)} bytes")
        storage = Storage(element, len(raw), memoryview(raw))
        strides = tuple(reversed(_row_major(tuple(reversed(sizes))))) if fortran else _row_major(sizes)
        record = self.tensor(storage, element, 0, sizes, strides)
        record.big_endian = dtype.big_endian and element.size > 1
        return record

    def tensor(self, storage: Any, dtype: DType | None, offset: Any, shape: Any, strides: Any) -> TensorRecord:
        """Return the record of a tensor. Raises _Refused where it would look outside its storage."""
        if not isinstance(storage, Storage) or dtype is None:
            _refuse(f"it declares a tensor over something of type {_type_name(storage)}")
        sizes, steps = _sizes(shape, "sizes"), _sizes(strides, "strides")
        (start,) = _sizes((offset,), "an offset")
        if len(sizes) != len(steps):
            _refuse(f"it declares a tensor with sizes {list(sizes)} and strides {list(steps)}")
        last = start + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        if 0 not in sizes and (last + 1) * dtype.size > storage.nbytes:
            _refuse(
                f"it declares a tensor {list(sizes)} with strides {list(steps)} from {start}, "
                f"outside its storage of {storage.nbytes} bytes"
            )
        record = TensorRecord(dtype, sizes, steps, start, storage)
        self.budget.tensor_bytes -= record.nbytes
        if self.budget.tensor_bytes < 0:
            _refuse("its tensors are many times larger than the file")
        return record

    def nested(self, content: bytes) -> Any:
        """Read a file inside the file (a storage that was pickled without torch.save)."""
        if self.budget.nesting >= self.budget.limits.nested_files:
            _refuse("it nests files inside files inside files")
        self.charge(100 + (len(content) >> 8))
        self.budget.nesting += 1
        try:
            return _read_torch(memoryview(content), self.budget)
        finally:
            self.budget.nesting -= 1


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[index + 1 :]) for index in range(len(shape)))


def _printable(text: str) -> str:
    return ascii(text)[1:-1][:80]


# ---- the instructions. One function each, in the order of the pickle protocols.


def _push(value: Any) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value)


def _push_new(make: Callable[[], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(make())


def _int_line(machine: _Machine) -> None:
    text = machine.line().strip()
    if text in ("00", "01"):
        machine.stack.append(text == "01")
    else:
        machine.stack.append(_parse_int(text))


def _long_line(machine: _Machine) -> None:
    machine.stack.append(_parse_int(machine.line().strip().rstrip("L")))


def _parse_int(text: str) -> int:
    if not re.fullmatch(r"[-+]?[0-9]{1,200}", text):
        raise _Damaged("a number is not one")
    return int(text)


def _float_line(machine: _Machine) -> None:
    try:
        machine.stack.append(float(machine.line()))
    except ValueError:
        raise _Damaged("a number is not one") from None


def _long_bytes(size_bytes: int) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        size = machine.uint(size_bytes)
        if size > 64:
            _refuse(f"it holds a whole number of {size} bytes")
        machine.stack.append(int.from_bytes(machine.take(size), "little", signed=True))

    return operation


def _signed4(machine: _Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True))


def _unsigned(size: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.uint(size))


def _binary_float(machine: _Machine) -> None:
    machine.stack.append(struct.unpack(">d", machine.take(8))[0])


def _text_of(size_bytes: int, encoding: str) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        raw = bytes(machine.take(machine.uint(size_bytes)))
        try:
            machine.stack.append(raw.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict"))
        except UnicodeDecodeError:
            raise _Damaged("a text is not one") from None

    return operation


def _raw_bytes(size_bytes: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(bytes(machine.take(machine.uint(size_bytes))))


def _quoted_line(machine: _Machine) -> None:
    try:
        value = ast.literal_eval(machine.line())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, str):
        raise _Damaged("a text is not one")
    machine.stack.append(value)


def _unicode_line(machine: _Machine) -> None:
    try:
        machine.stack.append(machine.line().encode("latin1").decode("raw-unicode-escape"))
    except UnicodeDecodeError:
        raise _Damaged("a text is not one") from None


def _pop(machine: _Machine) -> None:
    if not machine.stack:
        raise _Damaged("an instruction finds nothing to work on")
    machine.stack.pop()


def _append(machine: _Machine) -> None:
    item = machine.pop()
    _expect(machine.top(), list, "what items are added to").append(item)


def _appends(machine: _Machine) -> None:
    items = machine.pop_to_mark()
    _expect(machine.top(), list, "what items are added to").extend(items)


def _set_pairs(machine: _Machine, items: list[Any]) -> None:
    target = _expect(machine.top(), dict, "what entries are added to")
    if len(items) % 2:
        raise _Damaged("a dictionary has a key without a value")
    for index in range(0, len(items), 2):
        target[_key(items[index])] = items[index + 1]


def _setitem(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_pairs(machine, [key, value])


def _setitems(machine: _Machine) -> None:
    _set_pairs(machine, machine.pop_to_mark())


def _additems(machine: _Machine) -> None:
    items = machine.pop_to_mark()
    _expect(machine.top(), set, "what members are added to").update(_key(item) for item in items)


def _dict_from_mark(machine: _Machine) -> None:
    items = machine.pop_to_mark()
    machine.stack.append({})
    _set_pairs(machine, items)


def _set_from_mark(machine: _Machine) -> None:
    machine.stack.append({_key(item) for item in machine.pop_to_mark()})


def _tuple_of(count: int) -> Callable[[_Machine], None]:
    def operation(machine: _Machine) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return operation


def _get(machine: _Machine, index: int) -> None:
    if index not in machine.memo:
        raise _Damaged("it refers to something that it has not made")
    machine.stack.append(machine.memo[index])


def _put(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.top()


def _global_line(machine: _Machine) -> None:
    module, name = machine.line(), machine.line()
    machine.stack.append(machine.find(module, name))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        _refuse("it names something by what is not a text")
    machine.stack.append(machine.find(module, name))


def _reduce(machine: _Machine) -> None:
    args, function = machine.pop(), machine.pop()
    machine.stack.append(machine.call(function, args))


def _newobj(machine: _Machine) -> None:
    args, cls = machine.pop(), machine.pop()
    machine.stack.append(machine.new_object(cls, args))


def _newobj_ex(machine: _Machine) -> None:
    named, args, cls = machine.pop(), machine.pop(), machine.pop()
    if named != {}:
        _refuse(f"it tries to make an object of {cls} with named arguments")
    machine.stack.append(machine.new_object(cls, args))


def _inst(machine: _Machine) -> None:
    module, name = machine.line(), machine.line()
    args = tuple(machine.pop_to_mark())
    machine.stack.append(machine.new_object(machine.find(module, name), args))


def _obj(machine: _Machine) -> None:
    items = machine.pop_to_mark()
    if not items:
        raise _Damaged("an instruction finds nothing to work on")
    machine.stack.append(machine.new_object(items[0], tuple(items[1:])))


def _build(machine: _Machine) -> None:
    state = machine.pop()
    machine.build(machine.top(), state)


def _persistent(machine: _Machine, identifier: Any) -> None:
    if machine.persistent is None:
        _refuse("it refers to data outside the file")
    machine.stack.append(machine.persistent(identifier))


def _protocol(machine: _Machine) -> None:
    if machine.uint(1) > 5:
        raise _Damaged("it is of a pickle protocol newer than 5")


_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    ord(code): operation
    for code, operation in {
        "(": _push(_MARK),
        "0": _pop,
        "1": lambda machine: (machine.pop_to_mark(), None)[1],
        "2": lambda machine: machine.stack.append(machine.top()),
        "F": _float_line,
        "I": _int_line,
        "L": _long_line,
        "J": _signed4,
        "K": _unsigned(1),
        "M": _unsigned(2),
        "N": _push(None),
        "P": lambda machine: _persistent(machine, machine.line()),
        "Q": lambda machine: _persistent(machine, machine.pop()),
        "R": _reduce,
        "S": _quoted_line,
        "T": _text_of(4, "latin1"),
        "U": _text_of(1, "latin1"),
        "V": _unicode_line,
        "X": _text_of(4, "utf-8"),
        "a": _append,
        "b": _build,
        "c": _global_line,
        "d": _dict_from_mark,
        "}": _push_new(dict),
        "e": _appends,
        "g": lambda machine: _get(machine, _parse_int(machine.line())),
        "h": lambda machine: _get(machine, machine.uint(1)),
        "j": lambda machine: _get(machine, machine.uint(4)),
        "i": _inst,
        "l": lambda machine: machine.stack.append(machine.pop_to_mark()),
        "]": _push_new(list),
        "o": _obj,
        "p": lambda machine: _put(machine, _parse_int(machine.line())),
        "q": lambda machine: _put(machine, machine.uint(1)),
        "r": lambda machine: _put(machine, machine.uint(4)),
        "s": _setitem,
        "t": lambda machine: machine.stack.append(tuple(machine.pop_to_mark())),
        ")": _push(()),
        "u": _setitems,
        "G": _binary_float,
        "\x80": _protocol,
        "\x81": _newobj,
        "\x85": _tuple_of(1),
        "\x86": _tuple_of(2),
        "\x87": _tuple_of(3),
        "\x88": _push(True),
        "\x89": _push(False),
        "\x8a": _long_bytes(1),
        "\x8b": _long_bytes(4),
        "B": _raw_bytes(4),
        "C": _raw_bytes(1),
        "\x8c": _text_of(1, "utf-8"),
        "\x8d": _text_of(8, "utf-8"),
        "\x8e": _raw_bytes(8),
        "\x8f": _push_new(set),
        "\x90": _additems,
        "\x91": _set_from_mark,
        "\x92": _newobj_ex,
        "\x93": _stack_global,
        "\x94": lambda machine: _put(machine, len(machine.memo)),
        "\x95": lambda machine: (machine.take(8), None)[
            1
        ],  # FRAME: where to read ahead; sizes are checked as they come
        "\x96": _raw_bytes(8),
    }.items()
}


# ---------------------------------------------------------------------------------------------------------- containers

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled
_MAX_ENTRIES = 100_000


def _storage_from_id(identifier: Any) -> tuple[DType, str, int, Any]:
    """Return (type, key, bytes, view) of torch's persistent id ("storage", type, key, location, elements[, view])."""
    if not isinstance(identifier, tuple) or len(identifier) not in (5, 6) or identifier[0] != "storage":
        _refuse("it refers to data in a way that torch does not")
    _, kind, key, location, numel = identifier[:5]
    if not isinstance(kind, _Global) or kind.name not in STORAGES or not kind.module.startswith("torch"):
        _refuse(f"it declares a storage of type {kind}")
    if not isinstance(key, str) or not re.fullmatch(r"[0-9A-Za-z_]{1,64}", key) or not isinstance(location, str):
        _refuse("it declares a storage without a proper name")
    (count,) = _sizes((numel,), "a length")
    dtype = STORAGES[kind.name]
    return dtype, key, count * dtype.size, identifier[5] if len(identifier) == 6 else None


def _read_zip(data: memoryview, budget: _Budget) -> Any:
    """torch.save since 1.6: an uncompressed zip with NAME/data.pkl and NAME/data/<key> for each storage."""
    entries = dict(_zip_entries(data))
    names = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in entries):
        _refuse("it is a TorchScript archive, which holds code")
    if len(names) != 1:
        raise _Unknown("it is a zip file, but not one that torch.save wrote; if it holds a checkpoint, unpack it first")
    prefix = names[0].removesuffix("data.pkl")
    if bytes(entries.get(prefix + "byteorder", b"little")) != b"little":
        raise _Unknown("it was written on a big-endian machine")
    storages: dict[str, Storage] = {}

    def load(identifier: Any) -> Storage:
        dtype, key, nbytes, view = _storage_from_id(identifier)
        if view is not None:
            _refuse("it declares a view of a storage, which this format does not have")
        if key not in storages:
            content = entries.get(f"{prefix}data/{key}")
            if content is None:
                _refuse(f"it declares a storage of {nbytes} bytes that is not in the file")
            storages[key] = Storage(dtype, len(content), content)
        storage = storages[key]
        if storage.nbytes != nbytes:
            _refuse(f"it declares a storage of {nbytes} bytes where the file has {storage.nbytes}")
        return storage if storage.dtype == dtype else Storage(dtype, nbytes, storage.data)

    return _Machine(entries[names[0]], budget, load).run()


def _zip_entries(data: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Yield the (name, content) of an uncompressed zip, each checked to lie inside the file, apart from the others."""
    try:
        with zipfile.ZipFile(_File(data)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, OverflowError) as error:
        raise _Damaged(f"its table of contents cannot be read ({error})") from None
    if len(infos) > _MAX_ENTRIES:
        _refuse(f"it is a zip file of {len(infos)} entries")
    seen: set[str] = set()
    free_from = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.filename
        shown = _printable(name)
        if name in seen:
            _refuse(f"it holds two entries of the name {shown!r}")
        seen.add(name)
        if info.orig_filename != name or "\\" in name or ":" in name or "\0" in name:
            _refuse(f"it holds an entry of the odd name {shown!r}")
        if name.startswith("/") or any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
            _refuse(f"it holds an entry {shown!r} that points outside the archive")
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            _refuse(f"its entry {shown!r} is a link or a device, not a file")
        if info.flag_bits & 0x1:
            _refuse(f"its entry {shown!r} is encrypted")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            _refuse(f"its entry {shown!r} is compressed, which torch.save never does")
        header = data[info.header_offset : info.header_offset + 30]
        if len(header) < 30 or bytes(header[:4]) != b"PK\x03\x04":
            raise _Damaged(f"its entry {shown!r} is not where its table of contents says")
        start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
        end = start + info.file_size
        if info.header_offset < free_from or end > len(data):
            _refuse(f"its entry {shown!r} overlaps another or lies outside the file")
        free_from = end
        content = data[start:end]
        if zlib.crc32(content) != info.CRC:
            raise _Damaged(f"its entry {shown!r} has another checksum than when it was written")
        yield name, content


class _File(BytesIO):
    """A read-only file over a memoryview, without a copy: only the end of an archive is read through it."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data, self._at = data, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._data))[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._data) if size is None or size < 0 else min(len(self._data), self._at + size)
        content = bytes(self._data[self._at : end])
        self._at += len(content)
        return content


def _read_legacy(data: memoryview, budget: _Budget) -> Any:
    """torch.save before 1.6: pickles of magic, protocol, system, object, keys; then each storage's length and bytes."""
    storages: dict[str, Storage] = {}

    def load(identifier: Any) -> Storage | _Global:
        if isinstance(identifier, tuple) and len(identifier) == 4 and identifier[0] == "module":
            return _expect(identifier[1], _Global, "the class of a module")  # its source follows, and is dropped
        dtype, key, nbytes, view = _storage_from_id(identifier)
        root = storages.setdefault(key, Storage(dtype, nbytes))
        if root.nbytes != nbytes or root.dtype != dtype:
            _refuse("it declares one storage with two sizes")
        if view is None:
            return root
        if not isinstance(view, tuple) or len(view) != 3:
            _refuse("it declares an unknown view of a storage")
        start, count = (value * dtype.size for value in _sizes(view[1:], "a view"))
        if start + count > nbytes:
            _refuse("it declares a view outside its storage")
        return Storage(dtype, count, root=root, start=start)

    machine = _Machine(data, budget, load)
    machine.run()  # the magic number, which brought us here
    if machine.run() != 1001:
        raise _Unknown("it is of an unknown version of torch's legacy format")
    system = machine.run()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise _Unknown("it was written on a big-endian machine")
    value = machine.run()
    keys = machine.run()
    if not isinstance(keys, list) or len(keys) != len(set(map(str, keys))):
        _refuse("its list of storages is none, or names one twice")
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        count = int.from_bytes(machine.take(8), "little", signed=True)
        if storage is None:
            _refuse("it lists a storage that nothing refers to")
        if count * storage.dtype.size != storage.nbytes:
            _refuse(f"it declares a storage of {storage.nbytes} bytes where the file has {count * storage.dtype.size}")
        storage.data = machine.take(storage.nbytes)
    if len(keys) != len(storages):
        _refuse("it declares storages that are not in the file")
    return value


def _read_npy(data: memoryview, budget: _Budget) -> Any:
    """numpy.save: a header, then the raw array or, for arrays of objects, a pickle."""
    if len(data) < 12:
        raise _Damaged("it ends in the middle")
    length_bytes = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + length_bytes], "little")
    start = 8 + length_bytes + length
    if length > 10_000 or start > len(data):
        raise _Damaged("its header is longer than the file or than any header is")
    try:
        header = ast.literal_eval(bytes(data[8 + length_bytes : start]).decode("latin1").strip())
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        raise _Damaged("its header cannot be read") from None
    machine = _Machine(data[start:], budget)
    if descr in ("|O", "O"):
        return machine.run()
    if not isinstance(descr, str):
        raise _Unknown("it is a numpy array of structured elements")
    return machine.array(data[start:], _numpy_dtype(machine, (descr,)), shape, bool(fortran))


def _read_torch(data: memoryview, budget: _Budget) -> Any:
    start = bytes(data[:600])
    if start[:4] == b"PK\x03\x04":
        return _read_zip(data, budget)
    if start.startswith(_LEGACY):
        return _read_legacy(data, budget)
    if start[:6] == b"\x93NUMPY":
        return _read_npy(data, budget)
    if start[:1] and start[0] in b"\x80(]}cX":
        return _Machine(data, budget).run()
    raise _Unknown(_looks_like(start))


def _looks_like(start: bytes) -> str:
    """Say what a file is that is no checkpoint, in the words of its first bytes."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page: the download gave a page instead of the file; download it again from a browser"
    if start.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer: fetch the real file with `git lfs pull`"
    if start[257:262] == b"ustar":
        return "it is a tar archive: unpack it and choose the checkpoint inside"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        return "it is a compressed archive: unpack it and choose the checkpoint inside"
    if start[8:10] == b'{"':
        return "it is a safetensors file, which no official code of these models writes"
    if not start.strip(b"\0"):
        return "it holds nothing but zeros: the download did not finish"
    return "it is neither a torch file, a pickle nor a numpy file"


# ---------------------------------------------------------------------------------------------------------------- tree


def _tidy(root: Any, limits: Limits) -> Any:
    """Return the tree in its final form: plain data, Opaque and TensorRecord, with no cycles and of bounded size.

    An object that is referred to n times counts n times: who walks the tree as a tree must not drown.
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
                _refuse("it holds something that contains itself")
            open_.add(id(node))
            keep.append(node)
            pending.append((node, True))
            pending.extend((child, False) for child in children)
            continue
        open_.discard(id(node))
        below = [done.get(id(child), (child, 1, 0)) for child in children]
        nodes, depth = 1 + sum(part[1] for part in below), 1 + max((part[2] for part in below), default=0)
        if nodes > limits.nodes:
            _refuse(f"it unfolds into more than {limits.nodes} values")
        if depth > limits.depth:
            _refuse(f"it nests more than {limits.depth} levels")
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
    if isinstance(node, _Array):
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
    if isinstance(node, _Array):
        return parts if node.objects is not None else node.record
    if isinstance(node, _Global):
        return Opaque(node.module, node.name)
    if isinstance(node, Storage):
        return TensorRecord(node.dtype, (node.nbytes // node.dtype.size,), (1,), 0, node)
    if isinstance(node, _NumpyDType):
        return node.kind
    if isinstance(node, set):
        return node
    return _refuse(f"it holds a {type(node).__name__}")


def _omegaconf(node: Opaque, state: Any) -> Any:
    """A DictConfig, ListConfig or AnyNode as what it holds."""
    if isinstance(state, dict):
        return state["_content"] if "_content" in state else state.get("_val")
    return Opaque(node.module, node.name, (), state)


def read_records(path: Path, limits: Limits | None = None) -> Any:
    """Read a checkpoint into a tree whose tensors are TensorRecords over the mapped file.

    Raises:
        UnreadableFile: not there, empty or damaged.
        UnsafeCheckpoint: it tries to run code, or lies about its sizes; the sentence names what it tried.
        UnknownCheckpoint: no container that is known here.
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
    budget = _Budget(limits, limits.opcodes, limits.tensor_bytes_per_file_byte * len(data) + (1 << 20))
    try:
        return _tidy(_read_torch(data, budget), limits)
    except LatheError:
        raise
    except _Refused as error:
        raise UnsafeCheckpoint(f"{name} is refused: {error}.") from None
    except _Unknown as error:
        raise UnknownCheckpoint(f"{name} is no checkpoint: {error}.") from None
    except _Damaged as error:
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


def map_tensors(tree: Any, load: Callable[[TensorRecord], Any]) -> Any:
    """Return the tree with each TensorRecord replaced by load(record); one record that is met twice is loaded once."""
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
