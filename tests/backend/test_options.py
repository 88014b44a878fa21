"""Options of the command line have the defaults, help and choices of the requests.

tests/blender/test_options.py compares the panel's with the same requests.
"""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

from addon.wire.messages import (
    CompleteRequest,
    FitOptions,
    FitShapeRequest,
    Latent,
    MeshRequest,
    RenderRequest,
    SfmRequest,
    ViewsRequest,
)
from addon.wire.options import options_of
from backend.cli.app import cli

COMMANDS: dict[str, dict[type, dict[str, str]]] = {
    "fit": {FitOptions: {"use_masks": "masks"}},
    "sfm": {SfmRequest: {}},
    "mesh": {MeshRequest: {"iso_level": "level"}, Latent: {"seed_a": "seed", "seed_b": "seed2"}},
    "generate": {RenderRequest: {"samples_per_ray": "samples"}, Latent: {"seed_a": "seed", "seed_b": "seed2"}},
    "render": {RenderRequest: {"samples_per_ray": "samples"}, Latent: {"seed_a": "seed", "seed_b": "seed2"}},
    "complete": {CompleteRequest: {}},
    "fit-shape": {FitShapeRequest: {}},
    "views": {ViewsRequest: {"seed": "viewpoints"}},
}
"""Commands, their requests, and options that are not called as their field."""

LEFT_OUT = {(RenderRequest, "quality")}
"""Options that the commands do not have: an image is always of full quality."""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_of_a_request_is_an_option_of_its_command(command: str) -> None:
    commands: dict[str, Any] = {}
    for known in cli.registered_commands:
        assert known.callback is not None
        commands[known.name or known.callback.__name__] = known.callback
    flags = inspect.signature(commands[command]).parameters
    for message, names in COMMANDS[command].items():
        names = {"truncation_psi": "truncation", **names}
        for field, option in options_of(message).items():
            if (message, field) in LEFT_OUT:
                continue
            flag = flags[names.get(field, field)]
            kind, info = typing.get_args(flag.annotation)
            assert info.help.startswith(option.help)
            for choice in option.choices:
                assert f"{choice.value}: {choice.help}" in info.help
            if option.choices:
                assert [each.value for each in kind] == [choice.value for choice in option.choices]
            else:
                assert kind == option.kind or option.kind in typing.get_args(kind)
            default = getattr(flag.default, "value", flag.default)
            assert default == option.default or (flag.name == "seed2" and default is None)
