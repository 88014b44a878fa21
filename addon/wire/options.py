"""Options of requests: label, help, unit, range and choices, kept as metadata of dataclass fields.

This is the only source for what a user can set. Requests check their ranges with it; the command line and Blender's
properties are derived from it.

    @dataclass(frozen=True)
    class MeshRequest:
        resolution: int = field(default=128, metadata=option("Resolution", "Cells along …", minimum=8, maximum=1024))
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from .checks import check_range
from .errors import InvalidRequest

Unit = Literal["", "seconds", "metres", "pixels", "factor"]
"""Unit of a number. A factor runs from 0 to 1 and is shown as a slider."""

_KEY = "option"


@dataclass(frozen=True)
class Choice:
    """One value of an option that has a fixed set of values."""

    value: str
    label: str
    help: str


@dataclass(frozen=True)
class Option:
    """A field of a request that a user can set."""

    name: str  # of the field
    kind: type  # bool, int, float or str
    default: Any  # dataclasses.MISSING where the field is required
    label: str
    help: str
    unit: Unit
    minimum: float | None
    maximum: float | None
    soft_minimum: float | None  # range of a slider, within the range of the value
    soft_maximum: float | None
    choices: tuple[Choice, ...]
    optional: bool  # None is allowed and means the model's own value


def option(
    label: str,
    help: str,
    *,
    unit: Unit = "",
    minimum: float | None = None,
    maximum: float | None = None,
    soft_minimum: float | None = None,
    soft_maximum: float | None = None,
    choices: tuple[Choice, ...] = (),
) -> dict[str, Any]:
    """Return the metadata that makes a dataclass field an option: `field(default=…, metadata=option(…))`.

    label: two or three words, capitalised as Blender does. help: one sentence or two without a full stop at the end.
    """
    return {
        _KEY: {
            "label": label,
            "help": help,
            "unit": unit,
            "minimum": minimum,
            "maximum": maximum,
            "soft_minimum": minimum if soft_minimum is None else soft_minimum,
            "soft_maximum": maximum if soft_maximum is None else soft_maximum,
            "choices": choices,
        }
    }


@cache
def options_of(message: type) -> dict[str, Option]:
    """Return the options of a dataclass by the name of their field, in the order of the fields."""
    hints = typing.get_type_hints(message)
    return {
        field.name: Option(name=field.name, default=_default(field), **_kind(hints[field.name]), **field.metadata[_KEY])
        for field in dataclasses.fields(message)
        if _KEY in field.metadata
    }


def check_options(message: Any, names: Mapping[str, str] | None = None) -> None:
    """Check each option of a message against its range. Raises InvalidRequest for the first one outside.

    names: what the error calls an option, by field; its field's name unless given.
    """
    for name, found in options_of(message.__class__).items():
        value = getattr(message, name)
        if found.kind not in (int, float) or (value is None and found.optional):
            continue
        if found.minimum is not None and found.maximum is not None:
            check_range((names or {}).get(name, name), value, found.minimum, found.maximum)
        elif not math.isfinite(value):
            raise InvalidRequest(f"{name} is not finite")


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _kind(hint: Any) -> dict[str, Any]:
    """Return the type of an option's values, and whether it can be None, from the annotation of its field."""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kinds = [str if typing.get_origin(part) is Literal else part for part in parts if part is not types.NoneType]
    return {"kind": kinds[0], "optional": types.NoneType in parts}
