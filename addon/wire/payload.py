"""Strict serialization of messages: any bytes are read as a valid message or raise MalformedPayload.

Dataclasses without arrays are JSON. Arrays are in the safetensors layout (8-byte little-endian header length,
JSON header, raw data), with the other fields of the dataclass as JSON in the header's `__metadata__`. The layout is
implemented here because the add-on has only numpy; a test compares it with the safetensors library in both directions.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import types
import typing
from functools import cache
from typing import Any, TypeVar

import numpy as np

from .errors import LatheError, MalformedPayload
from .messages import PACKED

T = TypeVar("T")

MAX_HEADER_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_INT = 2**63 - 1

_DTYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I32": "<i4", "I64": "<i8", "U8": "|u1", "BOOL": "|b1"}
_DTYPE_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}

# ----------------------------------------------------------------------------------------------------------------- JSON


def to_json(message: Any) -> bytes:
    """Return a dataclass (or a list of them) as UTF-8 JSON. Raises MalformedPayload for values JSON cannot hold."""
    try:
        return json.dumps(_plain(message), allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise MalformedPayload(f"a {type(message).__name__} cannot be sent: {error}") from error


def from_json(kind: type[T], data: bytes) -> T:
    """Return the message of type `kind` (a dataclass or e.g. list[JobEvent]) that the JSON holds.

    Raises:
        MalformedPayload: not UTF-8 JSON; an unknown, missing or mistyped field (named by its path).
        InvalidRequest: well formed, but a field is out of its range.
    """
    return from_plain(kind, _parse(data))


def from_plain(kind: type[T], data: Any) -> T:
    """Return the message that parsed JSON (lists, dicts, scalars) holds. Raises as `from_json` does."""
    return typing.cast(T, _build(kind, data, "message", 0))


def _parse(data: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise MalformedPayload(f"JSON must not hold {constant}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise MalformedPayload("JSON holds the same key twice")
        return found

    try:
        return json.loads(bytes(data).decode(), parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise MalformedPayload(f"not JSON: {error}") from error


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _wrong(path: str, wanted: str, value: Any) -> MalformedPayload:
    return MalformedPayload(f"{path} must be {wanted}, got {type(value).__name__}")


def _build(kind: Any, value: Any, path: str, depth: int) -> Any:
    """Return `value` (parsed JSON) as an instance of the type annotation `kind`."""
    if depth > MAX_DEPTH:
        raise MalformedPayload(f"{path} is nested too deeply")
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, path, depth)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _build_union(arguments, value, path, depth)
    if origin is typing.Literal:
        if isinstance(value, str) and value in arguments:
            return value
        raise MalformedPayload(f"{path} must be one of {', '.join(map(str, arguments))}")
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise _wrong(path, "a list", value)
        if origin is tuple and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                raise MalformedPayload(f"{path} must have {len(arguments)} entries, got {len(value)}")
            return tuple(_build(a, v, f"{path}[{i}]", depth + 1) for i, (a, v) in enumerate(zip(arguments, value)))
        return origin(_build(arguments[0], item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(path, "an object", value)
        for key in value:
            _check_text(key, f"a name in {path}")
        return {key: _build(arguments[1], item, f"{path}.{key[:40]}", depth + 1) for key, item in value.items()}
    return _build_scalar(kind, value, path)


def _build_scalar(kind: Any, value: Any, path: str) -> Any:
    if kind is type(None):
        if value is None:
            return None
        raise _wrong(path, "null", value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError as error:
            raise MalformedPayload(f"{path} is too large a number") from error
        if math.isfinite(number):
            return number
        raise MalformedPayload(f"{path} is too large a number")
    if kind is int and type(value) is int and abs(value) > MAX_INT:
        raise MalformedPayload(f"{path} is too large a number")
    if kind is str and isinstance(value, str):
        _check_text(value, path)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise _wrong(path, getattr(kind, "__name__", str(kind)), value)


def _check_text(value: str, path: str) -> None:
    """Refuse halves of characters, which JSON can hold, but no file name and no UTF-8. Raises MalformedPayload."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedPayload(f"{path} is not valid text") from None


def _build_union(kinds: tuple[Any, ...], value: Any, path: str, depth: int) -> Any:
    if value is None and type(None) in kinds:
        return None
    first: MalformedPayload | None = None
    for kind in kinds:
        try:
            return _build(kind, value, path, depth)
        except MalformedPayload as error:
            first = first or error
    raise first or _wrong(path, "a known type", value)


def _build_dataclass(kind: type, value: Any, path: str, depth: int) -> Any:
    if not isinstance(value, dict):
        raise _wrong(path, f"an object ({kind.__name__})", value)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise MalformedPayload(f"{path} has an unknown field {unknown[0][:60]!r} for {kind.__name__}")
    hints = _hints(kind)
    built = {}
    for name, f in fields.items():
        if name in value:
            built[name] = _build(hints[name], value[name], f"{path}.{name}", depth + 1)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise MalformedPayload(f"{path} lacks the field {name!r} of {kind.__name__}")
    return kind(**built)


# --------------------------------------------------------------------------------------------------------------- arrays


def _is_array(hint: Any) -> bool:
    return hint is np.ndarray or np.ndarray in typing.get_args(hint)


def pack(message: Any) -> bytes:
    """Return a dataclass with array fields as safetensors bytes. Raises MalformedPayload for an unsupported dtype."""
    return b"".join(pack_parts(message))


def pack_parts(message: Any) -> list[bytes | memoryview]:
    """Return the same bytes as `pack`, as a header and one buffer for each array: nothing is copied."""
    kind: Any = type(message)
    scalars, arrays = {}, {}
    for f in dataclasses.fields(message):
        value = getattr(message, f.name)
        if isinstance(value, np.ndarray):
            arrays[f.name] = np.ascontiguousarray(value)
        elif value is not None or not _is_array(_hints(kind)[f.name]):
            scalars[f.name] = _plain(value)
    header: dict[str, Any] = {
        "__metadata__": {"message": kind.__name__, "fields": json.dumps(scalars, allow_nan=False)},
    }
    offset = 0
    for name, array in arrays.items():
        if array.dtype not in _DTYPE_NAMES:
            raise MalformedPayload(f"{kind.__name__}.{name} has dtype {array.dtype}, which cannot be sent")
        header[name] = {
            "dtype": _DTYPE_NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return [struct.pack("<Q", len(text)) + text, *(a.data.cast("B") for a in arrays.values() if a.size)]


def unpack(data: bytes | bytearray | memoryview) -> Any:
    """Return the message that `pack` made. Its arrays are views into `data`.

    Raises:
        MalformedPayload: anything that is not exactly such a message.
    """
    view = memoryview(data).cast("B")
    if len(view) < 8:
        raise MalformedPayload(f"a packed message has at least 8 bytes, got {len(view)}")
    (length,) = struct.unpack("<Q", view[:8])
    if length > min(MAX_HEADER_BYTES, len(view) - 8):
        raise MalformedPayload(f"the header claims {length} bytes of {len(view) - 8}")
    header = _parse(bytes(view[8 : 8 + length]))
    if not isinstance(header, dict):
        raise _wrong("the header", "an object", header)
    metadata = header.pop("__metadata__", None)
    kind = PACKED.get(str(metadata.get("message"))) if isinstance(metadata, dict) else None
    if kind is None:
        raise MalformedPayload("the header names no known message")
    scalars = _parse(str(metadata.get("fields", "{}")).encode())
    if not isinstance(scalars, dict):
        raise _wrong("the fields", "an object", scalars)
    arrays = _arrays(header, view[8 + length :])
    return _assemble(kind, scalars, arrays)


def _arrays(header: dict[str, Any], body: memoryview) -> dict[str, np.ndarray]:
    arrays, end = {}, 0
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise MalformedPayload(f"array {name[:60]!r} has a malformed entry")
        code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        whole = all(
            isinstance(numbers, list) and all(type(n) is int and 0 <= n < 2**40 for n in numbers)
            for numbers in (shape, offsets)
        )
        if not isinstance(code, str) or code not in _DTYPES or not whole or len(offsets) != 2 or len(shape) > 8:
            raise MalformedPayload(f"array {name[:60]!r} has a malformed entry")
        dtype = np.dtype(_DTYPES[code])
        if math.prod(max(n, 1) for n in shape) * dtype.itemsize > MAX_INT:  # numpy refuses such shapes, empty ones too
            raise MalformedPayload(f"array {name[:60]!r} has an impossible shape")
        if offsets[0] != end or offsets[1] > len(body) or offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
            raise MalformedPayload(f"array {name[:60]!r} does not fit the bytes it claims")
        end = offsets[1]
        arrays[name] = np.frombuffer(body[offsets[0] : end], dtype).reshape(shape)
    if end != len(body):
        raise MalformedPayload(f"{len(body) - end} bytes belong to no array")
    return arrays


def _assemble(kind: type, scalars: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    hints = _hints(kind)
    built: dict[str, Any] = {}
    for f in dataclasses.fields(kind):
        if _is_array(hints[f.name]):
            if f.name in arrays:
                built[f.name] = arrays.pop(f.name)
            elif hints[f.name] is np.ndarray:
                raise MalformedPayload(f"{kind.__name__} lacks the array {f.name!r}")
        elif f.name in scalars:
            built[f.name] = _build(hints[f.name], scalars.pop(f.name), f.name, 0)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise MalformedPayload(f"{kind.__name__} lacks the field {f.name!r}")
    if arrays or scalars:
        raise MalformedPayload(f"{kind.__name__} has no field {next(iter({**arrays, **scalars}))[:60]!r}")
    try:
        return kind(**built)
    except LatheError as error:
        raise MalformedPayload(error.message) from error
