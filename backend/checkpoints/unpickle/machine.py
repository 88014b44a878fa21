"""Pickle machine that builds plain data, and only what the tables allow."""

from __future__ import annotations

import ast
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from .records import NUMPY_DTYPES, Damaged, DType, Limits, Opaque, Storage, TensorRecord, refuse
from .tables import (
    CONSTRUCTORS,
    DICTS,
    MODULE,
    GlobalName,
    NumpyArray,
    NumpyDType,
    as_bytes,
    checked_key,
    checked_sizes,
    expect,
    is_class,
    is_value,
    ordered_dict,
    printable,
    type_name,
)


class _Mark:
    """The machine's stack marker."""


_MARK = _Mark()


@dataclass
class Budget:
    """Remaining budget of the limits; shared by files inside files."""

    limits: Limits
    opcodes: int
    tensor_bytes: int
    read_nested: Callable[[memoryview, Budget], Any]  # reads a file inside the file
    nesting: int = 0


PersistentLoad = Callable[[Any], "Storage | GlobalName"]


@dataclass
class Machine:
    """The pickle machine for one stream. `run` returns one object and leaves the position after it."""

    data: memoryview
    budget: Budget
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
                    raise Damaged("values are left over when the pickle ends")
                return value
            operation = _OPERATIONS.get(code)
            if operation is None:
                self._unknown(code)
            operation(self)

    def _unknown(self, code: int) -> NoReturn:
        if code in (0x82, 0x83, 0x84):
            refuse("it uses extension codes, which name functions that only its writer knows")
        if code in (0x97, 0x98):
            refuse("it uses buffers that are outside the file")
        raise Damaged(f"byte {code:#04x} at position {self.position - 1} is not a pickle instruction")

    # -- reading

    def charge(self, work: int) -> None:
        """Count work against the limit. Raises Refused when it is spent."""
        self.budget.opcodes -= work
        if self.budget.opcodes < 0:
            refuse(f"it takes more than {self.budget.limits.opcodes} steps to read")

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.position:
            raise Damaged("it ends in the middle")
        self.position += count
        return self.data[self.position - count : self.position]

    def line(self) -> str:
        end = self.position
        limit = min(len(self.data), self.position + 100_000)
        while end < limit and self.data[end] != 0x0A:
            end += 1
        if end == limit:
            raise Damaged("a line of its pickle does not end")
        text = bytes(self.take(end - self.position))
        self.position += 1
        return text.decode("latin1")

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    # -- the stack

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise Damaged("an instruction finds nothing to work on")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise Damaged("an instruction finds nothing to work on")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise Damaged("a mark is missing")

    # -- making things

    def find(self, module: str, name: str) -> GlobalName:
        """Return a name that one of the tables allows. Raises Refused for any other."""
        found = GlobalName(module, name)
        key = (module, name)
        if key in CONSTRUCTORS or key in DICTS or is_value(found):
            return found
        if MODULE.fullmatch(module) and is_class(found, self.budget.limits.allowed_classes):
            return found
        return refuse(f"it tries to use {printable(module)}.{printable(name)}, which no checkpoint needs")

    def call(self, function: Any, args: Any) -> Any:
        if not isinstance(function, GlobalName):
            refuse(f"it tries to call something of type {type_name(function)}")
        if not isinstance(args, tuple):
            refuse(f"it tries to call {function} with something that is not a list of arguments")
        made = CONSTRUCTORS.get((function.module, function.name))
        if made is None:
            if (function.module, function.name) in DICTS:
                return ordered_dict(self, args)
            refuse(f"it tries to call {function}, which no checkpoint needs")
        try:
            return made(self, args)
        except (IndexError, ValueError, TypeError, struct.error) as error:
            refuse(f"it calls {function} with arguments that do not fit ({error})")

    def new_object(self, cls: Any, args: Any) -> Any:
        if not isinstance(cls, GlobalName):
            refuse(f"it tries to make an object of something of type {type_name(cls)}")
        key = (cls.module, cls.name)
        if key in DICTS and args == ():
            return {}
        if key in CONSTRUCTORS:
            return self.call(cls, args)
        if not is_class(cls, self.budget.limits.allowed_classes):
            refuse(f"it tries to make an object of {cls}, which no checkpoint needs")
        if args != ():
            refuse(f"it tries to make an object of {cls} with arguments")
        return Opaque(cls.module, cls.name)

    def build(self, target: Any, state: Any) -> Any:
        """Apply a BUILD instruction: give an object its state."""
        if isinstance(target, Opaque):
            if isinstance(state, tuple) and len(state) == 2:  # __dict__ and __slots__
                parts = [part for part in state if part is not None]
                if not all(isinstance(part, dict) for part in parts):
                    refuse(f"it gives {target.module}.{target.name} a state that is not a dictionary")
                state = {key: value for part in parts for key, value in part.items()}
                self.charge(len(state))
            if target.state is not None:
                refuse(f"it gives {target.module}.{target.name} a second state")
            if target.module.startswith("omegaconf.") and isinstance(state, dict):
                # A configuration node points back to its parent; only what it holds matters.
                state = {key: state[key] for key in ("_content", "_val") if key in state}
            target.state = state
            return None
        if isinstance(target, dict) and isinstance(state, dict):
            return None  # attributes of an OrderedDict, such as the `_metadata` of a state dict
        if isinstance(target, NumpyDType) and isinstance(state, tuple) and len(state) >= 2:
            target.big_endian = state[1] == ">"
            return None
        if isinstance(target, NumpyArray):
            return self._build_array(target, state)
        if isinstance(target, TensorRecord) and isinstance(state, dict):
            return None  # attributes of a parameter
        return refuse(f"it tries to change something of type {type_name(target)}")

    def _build_array(self, target: NumpyArray, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], NumpyDType):
            refuse("it holds a numpy array with an unknown state")
        if target.record is not None or target.objects is not None:
            refuse("it gives a numpy array a second state")
        _version, shape, dtype, fortran, content = state
        if dtype.kind.startswith("O"):
            target.objects = expect(content, list, "the content of an array")
            if math.prod(checked_sizes(shape, "sizes")) != len(target.objects):
                refuse("it holds a numpy array with more or fewer objects than its shape says")
        else:
            target.record = self.array(as_bytes(content), dtype, shape, bool(fortran))

    def array(self, raw: bytes | memoryview, dtype: NumpyDType, shape: Any, fortran: bool) -> TensorRecord:
        """Return the record of a numpy array over `raw`."""
        if dtype.kind not in NUMPY_DTYPES:
            refuse("it holds a numpy array of objects made of bytes")
        element = NUMPY_DTYPES[dtype.kind]
        sizes = checked_sizes(shape, "sizes")
        if math.prod(sizes) * element.size != len(raw):
            refuse(f"it declares an array {list(sizes)} over {len(raw)} bytes")
        storage = Storage(element, len(raw), memoryview(raw))
        strides = tuple(reversed(_row_major(tuple(reversed(sizes))))) if fortran else _row_major(sizes)
        record = self.tensor(storage, element, 0, sizes, strides)
        record.big_endian = dtype.big_endian and element.size > 1
        return record

    def tensor(self, storage: Any, dtype: DType | None, offset: Any, shape: Any, strides: Any) -> TensorRecord:
        """Return the record of a tensor. Raises Refused where it would look outside its storage."""
        if not isinstance(storage, Storage) or dtype is None:
            refuse(f"it declares a tensor over something of type {type_name(storage)}")
        sizes, steps = checked_sizes(shape, "sizes"), checked_sizes(strides, "strides")
        (start,) = checked_sizes((offset,), "an offset")
        if len(sizes) != len(steps):
            refuse(f"it declares a tensor with sizes {list(sizes)} and strides {list(steps)}")
        last = start + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
        if 0 not in sizes and (last + 1) * dtype.size > storage.nbytes:
            refuse(
                f"it declares a tensor {list(sizes)} with strides {list(steps)} from {start}, "
                f"outside its storage of {storage.nbytes} bytes"
            )
        record = TensorRecord(dtype, sizes, steps, start, storage)
        self.budget.tensor_bytes -= record.nbytes
        if self.budget.tensor_bytes < 0:
            refuse("its tensors are many times larger than the file")
        return record

    def nested(self, content: bytes) -> Any:
        """Read a file inside the file (a storage that was pickled without torch.save)."""
        if self.budget.nesting >= self.budget.limits.nested_files:
            refuse("it nests files inside files inside files")
        self.charge(100 + (len(content) >> 8))
        self.budget.nesting += 1
        try:
            return self.budget.read_nested(memoryview(content), self.budget)
        finally:
            self.budget.nesting -= 1


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[index + 1 :]) for index in range(len(shape)))


# ---- the instructions. One function each, in the order of the pickle protocols.


def _push(value: Any) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(value)


def _push_new(make: Callable[[], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(make())


def _int_line(machine: Machine) -> None:
    text = machine.line().strip()
    if text in ("00", "01"):
        machine.stack.append(text == "01")
    else:
        machine.stack.append(_parse_int(text))


def _long_line(machine: Machine) -> None:
    machine.stack.append(_parse_int(machine.line().strip().rstrip("L")))


def _parse_int(text: str) -> int:
    if not re.fullmatch(r"[-+]?[0-9]{1,200}", text):
        raise Damaged("a number is not one")
    return int(text)


def _float_line(machine: Machine) -> None:
    try:
        machine.stack.append(float(machine.line()))
    except ValueError:
        raise Damaged("a number is not one") from None


def _long_bytes(size_bytes: int) -> Callable[[Machine], None]:
    def operation(machine: Machine) -> None:
        size = machine.uint(size_bytes)
        if size > 64:
            refuse(f"it holds a whole number of {size} bytes")
        machine.stack.append(int.from_bytes(machine.take(size), "little", signed=True))

    return operation


def _signed4(machine: Machine) -> None:
    machine.stack.append(int.from_bytes(machine.take(4), "little", signed=True))


def _unsigned(size: int) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(machine.uint(size))


def _binary_float(machine: Machine) -> None:
    machine.stack.append(struct.unpack(">d", machine.take(8))[0])


def _text_of(size_bytes: int, encoding: str) -> Callable[[Machine], None]:
    def operation(machine: Machine) -> None:
        raw = bytes(machine.take(machine.uint(size_bytes)))
        try:
            machine.stack.append(raw.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict"))
        except UnicodeDecodeError:
            raise Damaged("a text is not one") from None

    return operation


def _raw_bytes(size_bytes: int) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(bytes(machine.take(machine.uint(size_bytes))))


def _quoted_line(machine: Machine) -> None:
    try:
        value = ast.literal_eval(machine.line())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, str):
        raise Damaged("a text is not one")
    machine.stack.append(value)


def _unicode_line(machine: Machine) -> None:
    try:
        machine.stack.append(machine.line().encode("latin1").decode("raw-unicode-escape"))
    except UnicodeDecodeError:
        raise Damaged("a text is not one") from None


def _pop(machine: Machine) -> None:
    if not machine.stack:
        raise Damaged("an instruction finds nothing to work on")
    machine.stack.pop()


def _append(machine: Machine) -> None:
    item = machine.pop()
    expect(machine.top(), list, "what items are added to").append(item)


def _appends(machine: Machine) -> None:
    items = machine.pop_to_mark()
    expect(machine.top(), list, "what items are added to").extend(items)


def _set_pairs(machine: Machine, items: list[Any]) -> None:
    target = expect(machine.top(), dict, "what entries are added to")
    if len(items) % 2:
        raise Damaged("a dictionary has a key without a value")
    for index in range(0, len(items), 2):
        target[checked_key(items[index])] = items[index + 1]


def _setitem(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_pairs(machine, [key, value])


def _setitems(machine: Machine) -> None:
    _set_pairs(machine, machine.pop_to_mark())


def _additems(machine: Machine) -> None:
    items = machine.pop_to_mark()
    expect(machine.top(), set, "what members are added to").update(checked_key(item) for item in items)


def _dict_from_mark(machine: Machine) -> None:
    items = machine.pop_to_mark()
    machine.stack.append({})
    _set_pairs(machine, items)


def _set_from_mark(machine: Machine) -> None:
    machine.stack.append({checked_key(item) for item in machine.pop_to_mark()})


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def operation(machine: Machine) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(reversed(items)))

    return operation


def _get(machine: Machine, index: int) -> None:
    if index not in machine.memo:
        raise Damaged("it refers to something that it has not made")
    machine.stack.append(machine.memo[index])


def _put(machine: Machine, index: int) -> None:
    machine.memo[index] = machine.top()


def _global_line(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    machine.stack.append(machine.find(module, name))


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        refuse("it names something by what is not a text")
    machine.stack.append(machine.find(module, name))


def _reduce(machine: Machine) -> None:
    args, function = machine.pop(), machine.pop()
    machine.stack.append(machine.call(function, args))


def _newobj(machine: Machine) -> None:
    args, cls = machine.pop(), machine.pop()
    machine.stack.append(machine.new_object(cls, args))


def _newobj_ex(machine: Machine) -> None:
    named, args, cls = machine.pop(), machine.pop(), machine.pop()
    if named != {}:
        refuse(f"it tries to make an object of {cls} with named arguments")
    machine.stack.append(machine.new_object(cls, args))


def _inst(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    args = tuple(machine.pop_to_mark())
    machine.stack.append(machine.new_object(machine.find(module, name), args))


def _obj(machine: Machine) -> None:
    items = machine.pop_to_mark()
    if not items:
        raise Damaged("an instruction finds nothing to work on")
    machine.stack.append(machine.new_object(items[0], tuple(items[1:])))


def _build(machine: Machine) -> None:
    state = machine.pop()
    machine.build(machine.top(), state)


def _persistent(machine: Machine, identifier: Any) -> None:
    if machine.persistent is None:
        refuse("it refers to data outside the file")
    machine.stack.append(machine.persistent(identifier))


def _protocol(machine: Machine) -> None:
    if machine.uint(1) > 5:
        raise Damaged("it is of a pickle protocol newer than 5")


_OPERATIONS: dict[int, Callable[[Machine], None]] = {
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
