"""Command-line options derived from the options of requests (addon/wire/options.py).

    @options_from(MeshRequest, "mesh", names={"iso_level": "level"})
    def command(model: Model, out: Path, mesh: dict[str, Any]) -> None:
        request = MeshRequest(scene, **mesh)

The parameter `mesh` becomes one option for each option of the request, with its default, help, range and choices.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, StrEnum
from typing import Annotated, Any

import typer

from addon.wire.checks import check_range
from addon.wire.options import Option, options_of

Command = Callable[..., Any]

UNLIMITED = 1e6
"""Maximum from which the help does not mention a range: seeds, numbers of steps."""


def options_from(
    message: type,
    parameter: str,
    only: Iterable[str] | None = None,
    *,
    names: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[Command], Command]:
    """Replace a parameter of a command by options for the fields of a request; the command gets a dict by field.

    only: the fields, all of them if left out. names: of options that are not called as their field. defaults: of
    options whose default on the command line differs; with None the field is optional there.
    """
    fields = list(options_of(message) if only is None else only)
    flags = {field: (names or {}).get(field, field) for field in fields}

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for given in signature.parameters.values():
            if given.name != parameter:
                parameters.append(given)
                continue
            for field, flag in flags.items():
                found = options_of(message)[field]
                default = (defaults or {}).get(field, found.default)
                parameters.append(_parameter(found, flag, default))
        # Typer passes all by keyword, so a default may stand before a required parameter
        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]

        @functools.wraps(command)
        def wrapper(**values: Any) -> Any:
            found = {field: values.pop(flag) for field, flag in flags.items()}
            plain = {field: value.value if isinstance(value, Enum) else value for field, value in found.items()}
            return command(**values, **{parameter: plain})

        wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
        return wrapper

    return decorate


def _parameter(option: Option, flag: str, default: Any) -> inspect.Parameter:
    kind: Any = StrEnum(option.name, {c.value: c.value for c in option.choices}) if option.choices else option.kind
    if option.choices and default is not None:
        default = kind(default)
    return inspect.Parameter(
        flag,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind if default is not None else kind | None, typer.Option(help=help_of(option))],
    )


def help_of(option: Option) -> str:
    """Return the help of an option: its sentence, its choices, its range."""
    text = option.help + "."
    if option.choices:
        text += " " + "; ".join(f"{choice.value}: {choice.help}" for choice in option.choices) + "."
    if option.minimum is not None and option.maximum is not None and option.maximum < UNLIMITED:
        text += f" From {option.minimum:.10g} to {option.maximum:.10g}."
    return text


def check(message: type, values: Mapping[str, Any]) -> None:
    """Check values, by field, against the ranges of a request that is not built itself. Raises InvalidRequest."""
    for field, value in values.items():
        option = options_of(message)[field]
        if option.minimum is not None and option.maximum is not None:
            check_range(f"--{field.replace('_', '-')}", value, option.minimum, option.maximum)
