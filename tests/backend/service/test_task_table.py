"""The table of tasks says what the wire and the tasks' functions say."""

from __future__ import annotations

import typing

import pytest

from addon.wire.messages import PACKED, REQUESTS
from backend.service.tasks import TASKS, function_of, is_interleaved, resume_remedy


def test_every_request_of_the_wire_has_a_task() -> None:
    assert {name: spec.request for name, spec in TASKS.items()} == REQUESTS


@pytest.mark.parametrize("task", TASKS)
def test_a_task_takes_its_request_and_returns_its_result(task: str) -> None:
    hints = typing.get_type_hints(function_of(task))
    assert (hints["request"], hints["return"]) == (TASKS[task].request, TASKS[task].result)
    assert TASKS[task].result in PACKED.values()


def test_resumable_tasks_name_their_state() -> None:
    assert all("name" in spec.request.__annotations__ for spec in TASKS.values() if spec.resume)


def test_a_task_of_an_older_version_is_neither_resumed_nor_interleaved() -> None:
    assert not resume_remedy("of_long_ago", "chair") and not is_interleaved("of_long_ago")
