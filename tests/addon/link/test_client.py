"""The HTTP client against a small server."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from addon.link.client import Client, check_protocol
from addon.wire import errors, messages, payload

from .. import fake_backend
from ..fake_backend import HANG, NO_SURFACE, SLOW, TOKEN

SCENE = messages.SceneRef("sphere")
CAMERA = messages.Camera(messages.IDENTITY4, ((50.0, 0.0, 16.0), (0.0, 50.0, 8.0), (0.0, 0.0, 1.0)), 32, 16)


@pytest.fixture
def client() -> Iterator[Client]:
    server, state = fake_backend.start_server()
    client = Client(server.server_address[1], TOKEN)
    client.state = state  # type: ignore[attr-defined]
    yield client
    client.close()
    server.shutdown()
    server.server_close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """Make clients that are closed after the test."""
    made: list[Client] = []

    def make(port: int, token: str = TOKEN, **options: float) -> Client:
        made.append(Client(port, token, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def latent(seed: int) -> messages.SceneRef:
    return messages.SceneRef("sphere", messages.Latent(seed))


def test_hello_and_models_answer(client: Client) -> None:
    assert client.hello().device_name == "Fake CPU"
    assert [model.name for model in client.models().models] == ["sphere", "flat"]


def test_a_render_comes_back_as_the_arrays_that_were_sent(client: Client) -> None:
    result = client.run(messages.RenderRequest(SCENE, CAMERA))
    assert result.rgba.shape == (16, 32, 4) and result.rgba.dtype == np.float32
    assert result.rgba[0, 1].tolist() == [1, 0, 0, 1] and result.rgba[-1, 1].tolist() == [0, 0, 1, 1]
    assert np.isinf(result.depth[0]).all()


def test_progress_events_come_before_the_result_of_a_job_that_is_not_quick(client: Client) -> None:
    seen: list[messages.JobEvent] = []
    client.run(messages.MeshRequest(latent(SLOW), 8), on_event=seen.append)
    assert [event.kind for event in seen] == ["queued", "started", "progress"]


def test_a_quick_job_costs_two_requests(client: Client) -> None:
    asked: list[str] = []
    answer = client._answer

    def counted(method: str, path: str, *arguments: Any, **options: Any) -> Any:
        asked.append(f"{method} {path.partition('?')[0].rpartition('/')[2]}")
        return answer(method, path, *arguments, **options)

    client._answer = counted  # type: ignore[method-assign]
    client.run(messages.RenderRequest(SCENE, CAMERA))
    assert asked == ["POST render", "GET result"]


def test_a_failed_job_raises_its_error_with_its_remedy(client: Client) -> None:
    with pytest.raises(errors.NoSurface) as caught:
        client.run(messages.MeshRequest(latent(NO_SURFACE)))
    assert caught.value.remedy == errors.Remedy("set_level", "Set the level to 0.02", 0.02)


def test_a_newer_request_of_the_same_key_ends_the_older(client: Client) -> None:
    old = client.submit(messages.RenderRequest(latent(HANG), CAMERA), supersede="viewport")
    new = client.submit(messages.RenderRequest(SCENE, CAMERA), supersede="viewport")
    assert client.follow(old).kind == "superseded"
    with pytest.raises(errors.Cancelled):
        client.finish(client.follow(old))
    assert client.follow(new).kind == "done"


def test_cancel_ends_a_running_job(client: Client) -> None:
    job = client.submit(messages.RenderRequest(latent(HANG), CAMERA))
    client.cancel(job)
    client.cancel(job)
    assert client.follow(job).kind == "cancelled"


def test_an_upload_is_sent_once(client: Client) -> None:
    blob = messages.MeshBlob(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32))
    name = client.upload(blob)
    assert client.upload(blob) == name
    assert client.blob(name).faces.tolist() == [[0, 1, 2]]
    with pytest.raises(errors.BlobMissing):
        client.blob("0" * 64)


def test_connections_are_kept_alive_and_shared_by_threads(client: Client) -> None:
    before = len(client._idle)
    threads = [threading.Thread(target=client.hello) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(20):
        client.hello()
    assert before < len(client._idle) <= 8


def test_a_kept_connection_that_the_server_closed_is_replaced(client: Client) -> None:
    client.hello()
    client._idle[0][1].sock.close()
    assert client.hello().protocol == messages.PROTOCOL_VERSION


def test_a_wrong_token_is_unauthorized(client: Client, connect: Callable[..., Client]) -> None:
    with pytest.raises(errors.Unauthorized):
        connect(client.port, "wrong").hello()


def test_nobody_there_is_backend_unavailable_with_a_restart() -> None:
    server, _ = fake_backend.start_server()
    port = server.server_address[1]
    server.shutdown()
    server.server_close()
    with pytest.raises(errors.BackendUnavailable) as caught:
        Client(port, TOKEN).hello()
    assert caught.value.remedy and caught.value.remedy.action == "restart_backend"


@pytest.mark.parametrize(
    ("theirs", "who"), [(messages.PROTOCOL_VERSION - 1, "backend is older"), (99, "add-on is older")]
)
def test_another_protocol_says_which_side_to_update(theirs: int, who: str, connect: Callable[..., Client]) -> None:
    server, _ = fake_backend.start_server(theirs)
    with pytest.raises(errors.ProtocolMismatch, match=who):
        connect(server.server_address[1]).hello()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("answer", [{}, [], None, {"protocol": "1"}, "x"])
def test_something_that_is_no_backend_is_named_so(answer: object) -> None:
    with pytest.raises(errors.BackendUnavailable, match="not a Latent Lathe backend"):
        check_protocol(answer)


class Rubbish(http.server.BaseHTTPRequestHandler):
    """Answers as `answer` says."""

    protocol_version = "HTTP/1.1"
    answer = (200, b"<html>", 6)

    def do_GET(self) -> None:
        status, body, length = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>", 6),
        (500, b"oops", 4),
        (502, b"", 0),
        (200, b"half", 400),
        (418, b"{}", 2),
        (200, b"\xff\xfe", 2),
    ],
)
def test_rubbish_answers_become_errors_of_the_tree(
    answer: tuple[int, bytes, int], connect: Callable[..., Client]
) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("R", (Rubbish,), {"answer": answer}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    client = connect(server.server_address[1], timeout=1.0)
    for question in (client.hello, client.models, lambda: client.result("1")):
        with pytest.raises(errors.LatheError):
            question()
    server.shutdown()
    server.server_close()


def test_a_silent_server_is_given_up_after_the_timeout() -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        begun = time.monotonic()
        with pytest.raises(errors.BackendUnavailable, match="does not answer"):
            Client(listener.getsockname()[1], TOKEN, timeout=0.2).hello()
        assert time.monotonic() - begun < 2


def test_a_big_result_is_received_into_one_buffer_without_a_copy(client: Client) -> None:
    request = messages.RenderRequest(SCENE, messages.Camera(CAMERA.world_from_camera, CAMERA.intrinsics, 512, 512))
    job = client.submit(request)
    client.follow(job)
    result = client.result(job)
    assert result.rgba.base is not None and not result.rgba.flags.owndata
    assert payload.pack(result)[:8] != b""


def test_a_512_frame_arrives_within_the_budget_over_a_socket(client: Client) -> None:
    """Receiving and unpacking 5 MB must cost a few milliseconds; the bar leaves room for a busy machine."""
    request = messages.RenderRequest(SCENE, messages.Camera(CAMERA.world_from_camera, CAMERA.intrinsics, 512, 512))
    job = client.submit(request)
    client.follow(job)
    times = []
    for _ in range(9):
        begun = time.perf_counter()
        client.result(job)
        times.append(time.perf_counter() - begun)
    assert sorted(times)[1] < 0.05, times
