"""Blender properties derived from the options of requests.

A property has the label, help, unit, range, choices and default of its option (`addon/wire/options.py`). The items of
an enum are the choices of the option in upper case, as Blender writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ..wire.options import options_of

SUBTYPES = {"metres": "DISTANCE", "factor": "FACTOR"}
"""Blender's subtype of a number, by unit of the option."""


def option_property(message: type, name: str, **different: Any) -> Any:
    """Return the property of a request's option, for the annotations of a PropertyGroup. It is not animatable.

    different: arguments of the bpy.props function that add to the option or replace its own, such as `precision`.
    """
    option = options_of(message)[name]
    arguments: dict[str, Any] = {"name": option.label, "description": option.help, "options": set()}
    if option.choices:
        items = tuple((choice.value.upper(), choice.label, choice.help) for choice in option.choices)
        return EnumProperty(**{**arguments, "items": items, "default": option.default.upper(), **different})
    if option.default is not None:
        arguments["default"] = option.default
    if option.kind in (int, float):
        limits = {
            "min": option.minimum,
            "max": option.maximum,
            "soft_min": option.soft_minimum,
            "soft_max": option.soft_maximum,
        }
        arguments |= {key: limit for key, limit in limits.items() if limit is not None}
        if option.unit in SUBTYPES:
            arguments["subtype"] = SUBTYPES[option.unit]
    make = {bool: BoolProperty, int: IntProperty, float: FloatProperty, str: StringProperty}[option.kind]
    return make(**{**arguments, **different})


def with_options(
    message: type, names: Mapping[str, str] | None = None, **different: dict[str, Any]
) -> Callable[[type], type]:
    """Return a decorator that gives a PropertyGroup a property for each option of a request.

    names: of properties that are not called as their field. different: by field, arguments as in `option_property`.
    """

    def decorate(group: type) -> type:
        for name in options_of(message):
            made = option_property(message, name, **different.get(name, {}))
            group.__annotations__[(names or {}).get(name, name)] = made
        return group

    return decorate
