"""Options: the metadata of request fields is complete, agrees with their types, and is what requests check."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest

from addon.wire import messages as m
from addon.wire.errors import InvalidRequest
from addon.wire.options import Option, options_of
from tests.wire.examples import LATENT, SCENE, SHA

VALID: tuple[Any, ...] = (
    LATENT,
    m.FitOptions(),
    m.TrainOptions(),
    m.SfmRequest({"a.png": SHA}),
    m.ViewsRequest(SCENE),
    m.TrainingSetRequest("/data"),
    m.MeshRequest(SCENE),
    m.GenerateRequest("a", (LATENT,)),
    m.CompleteRequest("a", SHA),
    m.FitShapeRequest("a", SHA),
)
OPTIONS = [
    (kind, option)
    for kind in (m.Latent, m.FitOptions, m.TrainOptions, *m.REQUESTS.values())
    for option in options_of(kind).values()
]
RANGES = [
    (message, option)
    for message in VALID
    for option in options_of(message.__class__).values()
    if option.minimum is not None and option.maximum is not None
]


def named(value: Any) -> str:
    return value.name if isinstance(value, Option) else getattr(value, "__name__", type(value).__name__)


@pytest.mark.parametrize(("kind", "option"), OPTIONS, ids=named)
def test_an_option_is_described_in_full(kind: type, option: Option) -> None:
    assert option.label and option.label[0].isupper() and not option.label.endswith(".")
    assert len(option.help) > len(option.label) and option.help[0].isupper() and not option.help.endswith(".")
    for choice in option.choices:
        assert choice.label and choice.help and not choice.help.endswith(".")
    assert (option.minimum is None) == (option.maximum is None)
    if option.minimum is not None and option.maximum is not None:
        assert option.kind in (int, float)
        assert isinstance(option.minimum, option.kind) and isinstance(option.maximum, option.kind)
        assert option.minimum <= option.default <= option.maximum
        assert option.soft_minimum is not None and option.soft_maximum is not None
        assert option.minimum <= option.soft_minimum <= option.soft_maximum <= option.maximum
    assert option.optional or isinstance(option.default, option.kind)


@pytest.mark.parametrize(("kind", "option"), OPTIONS, ids=named)
def test_the_choices_of_an_option_are_the_values_of_its_field(kind: type, option: Option) -> None:
    hint = typing.get_type_hints(kind)[option.name]
    values = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    assert tuple(choice.value for choice in option.choices) == values


@pytest.mark.parametrize(("message", "option"), RANGES, ids=named)
def test_a_request_takes_an_option_within_its_range_and_nothing_beyond(message: Any, option: Option) -> None:
    assert option.minimum is not None and option.maximum is not None
    dataclasses.replace(message, **{option.name: option.kind(option.minimum)})
    dataclasses.replace(message, **{option.name: option.kind(option.maximum)})
    for wrong in (option.minimum - 1, option.maximum + 1):
        with pytest.raises(InvalidRequest, match="must be between"):
            dataclasses.replace(message, **{option.name: option.kind(wrong)})


def test_no_number_of_the_fit_options_is_left_without_a_range() -> None:
    assert [name for name, found in options_of(m.FitOptions).items() if found.kind in (int, float)] == [
        option.name for message, option in RANGES if isinstance(message, m.FitOptions)
    ]
    assert set(options_of(m.FitOptions)) == {field.name for field in dataclasses.fields(m.FitOptions)}
