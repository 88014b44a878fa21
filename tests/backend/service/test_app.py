"""The HTTP application in process: access, refused requests, and the OpenAPI document."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from addon.wire import messages, payload, routes
from addon.wire.errors import ERRORS, CannotWrite, NoSurface, error_from_dict
from backend.blobs import BlobStore
from backend.progress import Progress
from backend.service.app import Service, create_app
from backend.service.journal import JobJournal
from backend.service.queue import JobQueue

TOKEN = "right-token"
HEADERS = {"Authorization": f"Bearer {TOKEN}", routes.PROTOCOL_HEADER: str(messages.PROTOCOL_VERSION)}
IMAGE = messages.ImageResult(np.ones((4, 5, 4), np.float32), np.full((4, 5), np.inf, np.float32))
CAMERA = messages.Camera(messages.IDENTITY4, ((10.0, 0.0, 2.5), (0.0, 10.0, 2.0), (0.0, 0.0, 1.0)), 5, 4)
RENDER = messages.RenderRequest(messages.SceneRef("shapes"), CAMERA)
INFO = messages.ServerInfo(messages.PROTOCOL_VERSION, "0", 1, "cpu", "CPU", "2", 1, 2)


def run(task: str, request: Any, progress: Progress) -> Any:
    """A task that does what the model's name says."""
    name = request.scene.model if task in ("render", "mesh") else "image"
    if name == "none":
        raise NoSurface("nothing at this level")
    end = time.monotonic() + (20 if name == "slow" else 0)
    while time.monotonic() < end:
        progress(0.5, "working")
        time.sleep(0.005)
    return IMAGE


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    jobs = JobQueue(run, JobJournal(tmp_path))
    blobs = BlobStore(tmp_path / "blobs", max_blob=100_000)
    stopped: list[bool] = []
    found = Service(TOKEN, jobs, blobs, lambda: INFO, lambda: messages.ModelList(()), lambda: stopped.append(True))
    object.__setattr__(found, "stopped", stopped)
    yield found
    jobs.close()


@pytest.fixture
def app(service: Service) -> Any:
    return create_app(service)


class Caller:
    """Synchronous calls into the application, each test with a loop of its own."""

    def __init__(self, app: Any) -> None:
        self.app, self.runner = app, asyncio.Runner()
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://127.0.0.1:1234"
        )

    def __call__(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        return self.runner.run(
            self.http.request(method, path, headers=HEADERS if headers is None else headers, **options)
        )

    def close(self) -> None:
        self.runner.run(self.http.aclose())
        self.runner.close()


@pytest.fixture
def call(app: Any) -> Iterator[Caller]:
    caller = Caller(app)
    yield caller
    caller.close()


def submit(call: Caller, request: Any, **params: str) -> str:
    task = next(name for name, kind in messages.REQUESTS.items() if isinstance(request, kind))
    answer = call("POST", f"{routes.TASKS}/{task}", content=payload.to_json(request), params=params)
    assert answer.status_code == 200, answer.text
    return payload.from_json(messages.Submitted, answer.content).job


def error_of(answer: httpx.Response) -> Any:
    assert answer.headers["content-type"] == routes.JSON_TYPE, answer.text
    payload.from_json(messages.ErrorInfo, answer.content)
    return error_from_dict(answer.json())


# ------------------------------------------------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:99"}, 200),
        ({"Host": "[::1]:99"}, 200),
        ({"Host": "evil.example"}, 401),
        ({"Host": "127.0.0.1.evil.example:1234"}, 401),
        ({"Host": "evil.example:127.0.0.1"}, 401),
        ({"Host": ""}, 401),
        ({"Origin": "http://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": "http://127.0.0.1:1234"}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": ""}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": f"Bearer {TOKEN} "}, 401),
        ({routes.PROTOCOL_HEADER: "0"}, 426),
        ({routes.PROTOCOL_HEADER: "99"}, 426),
        ({routes.PROTOCOL_HEADER: "one"}, 400),
        ({routes.PROTOCOL_HEADER: "9" * 5000}, 400),
        ({routes.PROTOCOL_HEADER: ""}, 400),
    ],
)
def test_only_a_local_program_with_the_token_and_the_protocol_is_answered(
    call: Caller, headers: dict[str, str], status: int
) -> None:
    answer = call("GET", routes.HELLO, headers={**HEADERS, **headers})
    assert answer.status_code == status
    if status != 200:
        assert error_of(answer).http_status == status


@pytest.mark.parametrize(("version", "action"), [(0, "update_addon"), (99, "update_backend")])
def test_a_protocol_mismatch_says_which_side_to_update(call: Caller, version: int, action: str) -> None:
    error = error_of(call("GET", routes.HELLO, headers={**HEADERS, routes.PROTOCOL_HEADER: str(version)}))
    assert error.code == "protocol_mismatch" and error.remedy.action == action
    assert ("update the add-on" if version == 0 else "update the backend") in error.message


def test_a_second_host_or_token_header_is_refused(app: Any) -> None:
    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            doubled = [*HEADERS.items(), ("Authorization", "Bearer other")]
            return (await http.get(routes.HELLO, headers=doubled)).status_code

    assert asyncio.run(ask()) == 401


def test_nothing_is_answered_without_the_token_not_even_the_document_or_unknown_paths(call: Caller) -> None:
    for path in (routes.OPENAPI, routes.JOBS, routes.SHUTDOWN, "/", "/docs", "/v1/nothing"):
        assert call("GET", path, headers={}).status_code == 401


# ------------------------------------------------------------------------------------------------------------- jobs


def test_submit_follow_fetch(call: Caller) -> None:
    job = submit(call, RENDER)
    answer = call("GET", f"{routes.JOBS}/{job}{routes.RESULT}", params={"wait": 10})
    assert answer.headers["content-type"] == routes.PACKED_TYPE
    result = payload.unpack(answer.content)
    np.testing.assert_array_equal(result.rgba, IMAGE.rgba)
    np.testing.assert_array_equal(result.depth, IMAGE.depth)
    events = payload.from_json(list[messages.JobEvent], call("GET", routes.EVENTS, params={"job": job}).content)
    assert [event.kind for event in events] == ["queued", "started", "done"]
    status = payload.from_json(messages.JobStatus, call("GET", f"{routes.JOBS}/{job}").content)
    assert (status.kind, status.fraction, status.task) == ("done", 1.0, "render")


def test_the_long_poll_wakes_at_once_when_something_happens(app: Any, service: Service) -> None:
    async def poll() -> tuple[float, list[messages.JobEvent]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            waiting = asyncio.create_task(http.get(f"{routes.EVENTS}?after=0&wait=20", headers=HEADERS))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            started = time.perf_counter()
            await asyncio.to_thread(service.jobs.submit, "render", RENDER)
            answer = await waiting
            return time.perf_counter() - started, payload.from_json(list[messages.JobEvent], answer.content)

    seconds, events = asyncio.run(poll())
    assert events and events[0].kind == "queued"
    assert seconds < 1.0


def test_the_long_poll_ends_empty_after_its_time(call: Caller) -> None:
    started = time.perf_counter()
    assert call("GET", routes.EVENTS, params={"after": 0, "wait": 0.2}).json() == []
    assert 0.15 < time.perf_counter() - started < 5


def test_a_result_that_is_not_there_yet_answers_202_and_a_cancel_ends_the_wait(call: Caller) -> None:
    job = submit(call, messages.RenderRequest(messages.SceneRef("slow"), CAMERA))
    answer = call("GET", f"{routes.JOBS}/{job}{routes.RESULT}", params={"wait": 0.05})
    assert answer.status_code == 202
    assert payload.from_json(messages.JobStatus, answer.content).job == job
    call("POST", f"{routes.JOBS}/{job}{routes.CANCEL}")
    answer = call("GET", f"{routes.JOBS}/{job}{routes.RESULT}", params={"wait": 10})
    assert answer.status_code == 409 and error_of(answer).code == "cancelled"


def test_a_failed_job_gives_its_error_as_event_status_and_result(call: Caller) -> None:
    job = submit(call, messages.MeshRequest(messages.SceneRef("none")))
    answer = call("GET", f"{routes.JOBS}/{job}{routes.RESULT}", params={"wait": 10})
    assert isinstance(error_of(answer), NoSurface) and answer.status_code == NoSurface.http_status
    status = payload.from_json(messages.JobStatus, call("GET", f"{routes.JOBS}/{job}").content)
    assert status.error is not None and status.error.code == "no_surface"


def test_supersede_replaces_the_running_frame(call: Caller) -> None:
    slow = messages.RenderRequest(messages.SceneRef("slow"), CAMERA)
    first = submit(call, slow, supersede="viewport")
    second = submit(call, RENDER, supersede="viewport")
    assert call("GET", f"{routes.JOBS}/{second}{routes.RESULT}", params={"wait": 10}).status_code == 200
    status = payload.from_json(messages.JobStatus, call("GET", f"{routes.JOBS}/{first}").content)
    assert status.kind == "superseded"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{routes.JOBS}/{'0' * 32}", 404),
        ("POST", f"{routes.JOBS}/{'0' * 32}/cancel", 404),
        ("GET", f"{routes.JOBS}/{'0' * 32}/result", 404),
        ("GET", f"{routes.EVENTS}?job={'0' * 32}", 404),
        ("GET", f"{routes.JOBS}/../../etc/passwd", 404),
        ("GET", f"{routes.BLOBS}/..%2f..%2fetc%2fpasswd", 404),
        ("GET", f"{routes.BLOBS}/{'g' * 64}", 422),
        ("GET", f"{routes.BLOBS}/{'a' * 64}", 404),
        ("HEAD", f"{routes.BLOBS}/{'a' * 64}", 404),
        ("GET", f"{routes.EVENTS}?wait=31", 422),
        ("GET", f"{routes.EVENTS}?wait=nan", 422),
        ("GET", f"{routes.EVENTS}?after=-1", 422),
        ("POST", f"{routes.TASKS}/nothing", 404),
        ("DELETE", routes.JOBS, 405),
        ("GET", "/docs", 404),
    ],
)
def test_what_does_not_exist_is_refused_as_wire_error(call: Caller, method: str, path: str, status: int) -> None:
    answer = call(method, path)
    assert answer.status_code == status
    if method != "HEAD":
        assert error_of(answer).code in ERRORS


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b'{"scene": 1}', 400),
        (b'{"surprise": 1}', 400),
        (b"[" * 100_000, 400),
        (b" " * (routes.MAX_JSON_BYTES + 1), 413),
        (payload.to_json(RENDER).replace(b'"width":5', b'"width":0'), 422),
        (payload.to_json(RENDER).replace(b'"width":5', b'"width":true'), 400),
        (payload.to_json(RENDER).replace(b'"seed_a":0', b'"seed_a":-1'), 422),
        (payload.to_json(RENDER).replace(b'"width":5', b'"width":NaN'), 400),
    ],
)
def test_a_body_that_is_no_request_is_refused_with_a_sentence(call: Caller, body: bytes, status: int) -> None:
    answer = call("POST", f"{routes.TASKS}/render", content=body)
    assert answer.status_code == status, answer.text
    assert error_of(answer).message


# ------------------------------------------------------------------------------------------------------------ uploads


def test_blobs_are_content_addressed(call: Caller, service: Service) -> None:
    data = payload.pack(messages.CodeBlob(np.ones((2, 3), np.float32)))
    name = hashlib.sha256(data).hexdigest()
    path = f"{routes.BLOBS}/{name}"
    assert call("HEAD", path).status_code == 404
    assert call("PUT", path, content=data).status_code == 201
    assert call("PUT", path, content=data).status_code == 200
    assert call("HEAD", path).status_code == 200
    assert call("GET", path).content == data
    assert service.blobs.read_message(name, messages.CodeBlob).ws.shape == (2, 3)


def test_bytes_that_are_not_what_their_name_says_leave_nothing_behind(call: Caller, service: Service) -> None:
    answer = call("PUT", f"{routes.BLOBS}/{'a' * 64}", content=b"something else")
    assert answer.status_code == 400 and "sha256" in error_of(answer).message
    assert [p for p in service.blobs.folder.rglob("*") if p.is_file()] == []


def test_an_upload_over_the_limit_is_stopped_while_it_streams(call: Caller, service: Service) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 10_000
            yield bytes(10_000)

    answer = call("PUT", f"{routes.BLOBS}/{'a' * 64}", content=endless())
    assert answer.status_code == 413 and error_of(answer).code == "too_large"
    answer = call("PUT", f"{routes.BLOBS}/{'a' * 64}", content=bytes(100_001))
    assert answer.status_code == 413
    assert [p for p in service.blobs.folder.rglob("*") if p.is_file()] == []


def test_a_full_disk_answers_with_a_sentence(call: Caller, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backend.blobs.os.replace", full)
    data = b"some bytes"
    answer = call("PUT", f"{routes.BLOBS}/{hashlib.sha256(data).hexdigest()}", content=data)
    assert answer.status_code == 507
    error = error_of(answer)
    assert isinstance(error, CannotWrite) and "full" in error.message
    monkeypatch.undo()
    assert [p for p in service.blobs.folder.rglob("*") if p.is_file()] == []


def test_a_fault_of_ours_answers_an_internal_error_without_its_details(call: Caller, service: Service) -> None:
    def broken() -> messages.ServerInfo:
        raise ZeroDivisionError("secret details")

    object.__setattr__(service, "server_info", broken)
    answer = call("GET", routes.HELLO)
    assert answer.status_code == 500 and error_of(answer).code == "internal"
    assert "secret" not in answer.text


def test_shutdown_tells_the_process_to_end(call: Caller, service: Any) -> None:
    assert call("POST", routes.SHUTDOWN).status_code == 204
    assert service.stopped == [True]


# ------------------------------------------------------------------------------------------------------------ OpenAPI


def test_the_openapi_document_has_every_request_and_answer(call: Caller) -> None:
    document = call("GET", routes.OPENAPI).json()
    schemas = document["components"]["schemas"]
    for task, kind in messages.REQUESTS.items():
        body = document["paths"][f"{routes.TASKS}/{task}"]["post"]["requestBody"]
        assert body["content"][routes.JSON_TYPE]["schema"]["$ref"].endswith(f"/{kind.__name__}")
        assert kind.__name__ in schemas
    for name in ("ServerInfo", "ModelList", "JobStatus", "JobEvent", "Submitted", "ErrorInfo"):
        assert name in schemas
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in schemas
