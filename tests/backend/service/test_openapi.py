"""Requests generated from the OpenAPI document: every answer is one that it describes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from addon.wire import messages, payload, routes
from backend.blobs import BlobStore
from backend.service.app import Service, create_app
from backend.service.journal import JobJournal
from backend.service.queue import JobQueue
from tests.wire import examples

TOKEN = "token"
HEADERS = {
    "Host": "127.0.0.1",
    "Authorization": f"Bearer {TOKEN}",
    routes.PROTOCOL_HEADER: str(messages.PROTOCOL_VERSION),
}
INFO = messages.ServerInfo(messages.PROTOCOL_VERSION, "0", 1, "cpu", "CPU", "2", 1, 2)


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    jobs = JobQueue(lambda *_: examples.arrays()[1], JobJournal(folder))
    models = messages.ModelList((examples.INFO,), (messages.BrokenModel("broken", examples.ERROR),))
    yield create_app(Service(TOKEN, jobs, BlobStore(folder / "blobs"), lambda: INFO, lambda: models, lambda: None))
    jobs.close()


def test_whatever_the_document_allows_is_answered_as_it_says(application: Any) -> None:
    document = schemathesis.openapi.from_asgi(routes.OPENAPI, application, headers=HEADERS)
    answered: dict[str, set[int]] = {}
    for result in document.exclude(path=routes.SHUTDOWN).get_all_operations():
        operation = result.ok()
        answered[operation.label] = set()

        @settings(
            max_examples=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            phases=[Phase.generate],
        )
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            if case.query and "wait" in case.query:
                case.query["wait"] = 0  # waiting is part of the protocol, and here only takes time
            response = case.call(headers=HEADERS)
            answered[case.operation.label].add(response.status_code)
            case.validate_response(
                response, checks=(not_a_server_error, content_type_conformance, response_schema_conformance)
            )
            if response.status_code >= 400 and case.method != "HEAD":
                payload.from_json(messages.ErrorInfo, response.content)

        check()
    assert len(answered) == 10 + len(messages.REQUESTS)
    assert any(200 in statuses for label, statuses in answered.items() if routes.TASKS in label)
    assert answered[f"GET {routes.MODELS}"] == {200}
