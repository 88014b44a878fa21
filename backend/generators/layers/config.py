"""Config dataclasses from the JSON of a model's card."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

Config = TypeVar("Config")


def config_from_json(kind: type[Config], values: dict[str, Any]) -> Config:
    """Return the dataclass whose `dataclasses.asdict` was stored as JSON: lists become tuples, and objects the
    dataclass that the field is annotated with. Raises TypeError where a name is not a field."""
    annotations = typing.get_type_hints(kind)
    return kind(**{name: _from_json(annotations.get(name), value) for name, value in values.items()})


def _from_json(annotation: Any, value: Any) -> Any:
    if isinstance(annotation, types.UnionType):  # Config | None
        annotation = next((option for option in typing.get_args(annotation) if dataclasses.is_dataclass(option)), None)
    if isinstance(value, dict) and isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return config_from_json(annotation, value)
    return tuple(_from_json(None, item) for item in value) if isinstance(value, list) else value
