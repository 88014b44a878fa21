"""Allow-list of the pickle machine: the names that a file may use, and our function for each that it may call."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .records import NUMPY_DTYPES, STORAGES, TORCH_DTYPES, Opaque, Storage, TensorRecord, refuse

if TYPE_CHECKING:
    from .machine import Machine


@dataclass(frozen=True)
class GlobalName:
    """A global name in a pickle. It is never looked up in Python, only in the tables."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class NumpyArray:
    """A numpy array between `_reconstruct` and its state."""

    record: TensorRecord | None = None
    objects: list[Any] | None = None


@dataclass(eq=False)
class NumpyDType:
    """Element type of a numpy array."""

    kind: str  # such as "f4", or "O8"
    big_endian: bool = False


_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,9}")

CLASSES: tuple[str, ...] = (
    "torch.nn.modules.",
    "torch.nn.parallel.",
    "torch.nn.utils.",
    "torch.optim.",
    "torch.cuda.amp.grad_scaler.",
    "torch.amp.grad_scaler.",
    "omegaconf.",
    "argparse.Namespace",
)
"""Starts of full class names whose saved objects become an Opaque, for every model; each model adds its own."""

DICTS = {
    ("collections", "OrderedDict"),
    ("dnnlib.util", "EasyDict"),
    ("dnnlib", "EasyDict"),
    ("easydict", "EasyDict"),
    ("builtins", "dict"),
    ("__builtin__", "dict"),
}
"""Subclasses of dict that hold nothing else."""
NAMES: tuple[str, ...] = ("typing.", "torch.nn.functional.", "torch.nn.init.")
"""Starts of names that may stand as a value; they become an Opaque without state and are never called."""
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

Constructor = Callable[["Machine", tuple[Any, ...]], Any]


def _rebuild_tensor(machine: Machine, args: tuple[Any, ...]) -> TensorRecord:
    storage, offset, shape, strides = args[:4]
    dtype = storage.dtype if isinstance(storage, Storage) else None
    return machine.tensor(storage, dtype, offset, shape, strides)


def _rebuild_tensor_v3(machine: Machine, args: tuple[Any, ...]) -> TensorRecord:
    storage, offset, shape, strides, _requires_grad, _hooks, dtype = args[:7]
    if not isinstance(dtype, GlobalName) or dtype.module != "torch" or dtype.name not in TORCH_DTYPES:
        refuse(f"it declares a tensor of element type {dtype}")
    return machine.tensor(storage, TORCH_DTYPES[dtype.name], offset, shape, strides)


def _rebuild_parameter(machine: Machine, args: tuple[Any, ...]) -> Any:
    return expect(args[0], TensorRecord, "the data of a parameter")


def _rebuild_from_type(machine: Machine, args: tuple[Any, ...]) -> Any:
    function, _type, inner = args[:3]
    if not isinstance(function, GlobalName) or (function.module, function.name) not in _TENSOR_BUILDERS:
        refuse(f"it tries to call {function}")
    return _TENSOR_BUILDERS[function.module, function.name](machine, expect(inner, tuple, "the arguments of a tensor"))


def _load_from_bytes(machine: Machine, args: tuple[Any, ...]) -> Any:
    return machine.nested(expect(args[0], bytes, "a file inside the file"))


def _persistent_object(machine: Machine, args: tuple[Any, ...]) -> Opaque:
    """Make an object of StyleGAN's classes that carry their source: keep the state, drop the source unread."""
    meta = expect(args[0], dict, "the description of a persistent object")
    if meta.get("type") != "class" or not isinstance(meta.get("class_name"), str):
        refuse("it holds a persistent object that is not of a class")
    state = meta.get("state")
    if state is not None and not isinstance(state, dict):
        refuse("it holds a persistent object with a state that is not a dictionary")
    return Opaque("torch_utils.persistence", meta["class_name"], (), state)


def ordered_dict(machine: Machine, args: tuple[Any, ...]) -> dict[Any, Any]:
    """Make a dictionary of pairs, or of another dictionary."""
    if not args:
        return {}
    pairs = (
        args[0].items() if isinstance(args[0], dict) else expect(args[0], (list, tuple), "the content of a dictionary")
    )
    machine.charge(len(pairs))
    made: dict[Any, Any] = {}
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            refuse("it makes a dictionary of things that are not pairs")
        made[checked_key(pair[0])] = pair[1]
    return made


def _default_dict(machine: Machine, args: tuple[Any, ...]) -> dict[Any, Any]:
    return ordered_dict(machine, args[1:])


def _items_of(machine: Machine, args: tuple[Any, ...]) -> list[Any]:
    if not args:
        return []
    items = expect(args[0], (list, tuple, set), "the content of a collection")
    machine.charge(len(items))
    return list(items)


def _set(machine: Machine, args: tuple[Any, ...]) -> set[Any]:
    return {checked_key(item) for item in _items_of(machine, args)}


def _tuple(machine: Machine, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_items_of(machine, args))


def _bytes_of(machine: Machine, args: tuple[Any, ...]) -> bytes:
    """`_codecs.encode(text, "latin1")`: how protocol 2 writes bytes."""
    text, encoding = (*args, "")[:2]
    if encoding not in ("latin1", "latin-1"):
        refuse(f"it tries to encode text as {encoding!r}")
    machine.charge(len(expect(text, str, "the content of bytes")) >> 4)
    return bytes(text.encode("latin1"))


def _bytearray(machine: Machine, args: tuple[Any, ...]) -> bytes:
    """`bytearray(b"…")`, and `bytearray("…", "latin-1")` of protocol 2. It stays bytes: nothing writes to it."""
    if not args:
        return b""
    return _bytes_of(machine, args) if isinstance(args[0], str) else expect(args[0], bytes, "the content of bytes")


def _text(machine: Machine, args: tuple[Any, ...]) -> str:
    return "/".join(str(expect(part, str, "a part of a path")) for part in args[:64])


def _generic_type(machine: Machine, args: tuple[Any, ...]) -> Any:
    """`operator.getitem(typing.Optional, int)`: how omegaconf's types are written. The parameter is dropped."""
    if not isinstance(args[0], GlobalName) or args[0].module != "typing":
        refuse("it tries to call operator.getitem, which no checkpoint needs")
    return args[0]


def _nothing(machine: Machine, args: tuple[Any, ...]) -> None:
    """Stand in for a function whose result is not needed to read weights."""


def _first(machine: Machine, args: tuple[Any, ...]) -> Any:
    return expect(args[0], (str, int, float, bool), "a plain value") if args else ""


def _reconstruct_object(machine: Machine, args: tuple[Any, ...]) -> Any:
    """`copy_reg._reconstructor(cls, object, None)`: how protocols 0 and 1 make an object."""
    cls, base, state = args
    if not isinstance(cls, GlobalName) or not isinstance(base, GlobalName) or base.name not in ("object", "dict"):
        refuse(f"it tries to make an object of {cls} on {base}")
    made = machine.new_object(cls, ())
    if isinstance(state, dict) and isinstance(made, dict):
        made.update(state)
    elif state is not None:
        refuse(f"it tries to make an object of {cls} from a {type(state).__name__}")
    return made


def _numpy_reconstruct(machine: Machine, args: tuple[Any, ...]) -> NumpyArray:
    if not isinstance(args[0], GlobalName) or (args[0].module, args[0].name) != ("numpy", "ndarray"):
        refuse(f"it tries to make an array of {args[0]}")
    return NumpyArray()


def numpy_dtype(machine: Machine, args: tuple[Any, ...]) -> NumpyDType:
    """Make an element type of its name, such as "<f4"."""
    name = expect(args[0], str, "an element type").lstrip("<|=")
    kind = name.lstrip(">")
    if kind not in NUMPY_DTYPES and kind not in ("O", "O8", "O4"):
        refuse(f"it holds a numpy array of element type {name!r}")
    return NumpyDType(kind, name.startswith(">"))


def _numpy_scalar(machine: Machine, args: tuple[Any, ...]) -> Any:
    dtype, raw = expect(args[0], NumpyDType, "the type of a number"), as_bytes(args[1])
    if dtype.kind not in NUMPY_DTYPES or len(raw) != NUMPY_DTYPES[dtype.kind].size:
        refuse("it holds a number whose bytes do not fit its type")
    return struct.unpack((">" if dtype.big_endian else "<") + NUMPY_DTYPES[dtype.kind].letter, raw)[0]


def _numpy_frombuffer(machine: Machine, args: tuple[Any, ...]) -> TensorRecord:
    raw, dtype, shape, order = args
    return machine.array(as_bytes(raw), expect(dtype, NumpyDType, "the element type of an array"), shape, order == "F")


_TENSOR_BUILDERS: dict[tuple[str, str], Constructor] = {
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
}

CONSTRUCTORS: dict[tuple[str, str], Constructor] = {
    **_TENSOR_BUILDERS,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch.storage", "_load_from_bytes"): _load_from_bytes,
    ("torch", "Size"): _tuple,
    ("torch", "device"): _first,
    ("torch.serialization", "_get_layout"): _first,
    ("torch_utils.persistence", "_reconstruct_persistent_obj"): _persistent_object,
    ("collections", "OrderedDict"): ordered_dict,
    ("collections", "defaultdict"): _default_dict,
    ("_codecs", "encode"): _bytes_of,
    ("copy_reg", "_reconstructor"): _reconstruct_object,
    ("copyreg", "_reconstructor"): _reconstruct_object,
    ("numpy", "dtype"): numpy_dtype,
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
            "dict": ordered_dict,
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


def is_class(name: GlobalName, classes: tuple[str, ...]) -> bool:
    """Return whether objects of the class may be recorded. classes: starts of full names, besides `CLASSES`."""
    return bool(_IDENTIFIER.fullmatch(name.name)) and str(name).startswith((*CLASSES, *classes))


def is_value(name: GlobalName) -> bool:
    """Return whether a name may stand as a value, without being called."""
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


def expect(value: Any, kind: type | tuple[type, ...], what: str) -> Any:
    """Return the value if it is of this type. Raises Refused. what: its name in the message."""
    if not isinstance(value, kind):
        refuse(f"{what} is of type {type_name(value)}")
    return value


def type_name(value: Any) -> str:
    """Return a value's type for a message; of a global, its name."""
    return str(value) if isinstance(value, GlobalName) else type(value).__name__.lstrip("_")


def as_bytes(value: Any) -> bytes:
    """Return bytes, also of the text that stands for bytes in pickles of Python 2."""
    if isinstance(value, str):
        try:
            return value.encode("latin1")
        except UnicodeEncodeError:
            refuse("it holds text where bytes belong")
    return bytes(expect(value, bytes, "the content of bytes"))


def checked_key(value: Any) -> Any:
    """Return a value that may be a dictionary key. Tuples and large numbers can be chosen so that all their hashes are
    equal, which takes time without end, and no checkpoint has such keys."""
    if value is None or isinstance(value, (str, float, bool, bytes)):
        return value
    if isinstance(value, int) and abs(value) < 1 << 60:
        return value
    if isinstance(value, GlobalName):
        return str(value)
    return refuse(f"a key of a dictionary is of type {type_name(value)}, or too large")


def checked_sizes(values: Any, what: str) -> tuple[int, ...]:
    """Return up to 16 non-negative integers. Raises Refused for anything else."""
    if not isinstance(values, (tuple, list)) or len(values) > 16:
        refuse(f"it declares a tensor with {what} that are not up to 16 numbers")
    for value in values:
        if type(value) is not int or not 0 <= value < 1 << 48:
            refuse(f"it declares a tensor with {what} {list(values)}")
    return tuple(values)


def printable(text: str) -> str:
    """Return at most 80 characters of a text in ASCII."""
    return ascii(text)[1:-1][:80]
