"""The service as a process of its own, under faults: crashes, full disks, broken connections."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from addon.link.client import Client
from addon.wire import messages, routes
from addon.wire.errors import (
    BackendUnavailable,
    Cancelled,
    InternalError,
    LatheError,
    OutOfMemory,
    ProtocolMismatch,
    Unauthorized,
    UnknownModel,
)
from addon.wire.messages import TERMINAL_KINDS, GenerateRequest, Latent, RenderRequest, SceneRef
from backend.cameras import orbit
from tests.backend.fixtures import shapes

from .process import COMMAND, ROOT, Running, running, wait_gone

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data folder")
    shapes.write(folder / "models" / "shapes")
    shapes.write(folder / "models" / "broken")
    shapes.break_card(folder / "models" / "broken")
    return folder


@pytest.fixture(scope="module")
def backend(data: Path) -> Iterator[Running]:
    with running(data) as found:
        yield found


def frame(size: int = 32, **controls: float) -> RenderRequest:
    info = shapes.load("shapes", shapes.ModelCard("", "", "", "", False, {}), {"basis": shapes.torch.eye(4)}).info
    return RenderRequest(SceneRef("shapes", Latent(seed_a=3), controls), orbit(info, size))


def wait_kind(client: Client, job: str, kind: str) -> None:
    end = time.monotonic() + 30
    while client.job(job).kind != kind:
        assert time.monotonic() < end, client.job(job)
        time.sleep(0.01)


# -------------------------------------------------------------------------------------------------------- plain work


def test_stdout_carries_the_handshake_and_nothing_else_and_comes_before_pytorch(tmp_path: Path) -> None:
    started = time.monotonic()
    with running(tmp_path) as backend:
        assert set(backend.handshake) == {"protocol", "version", "port", "token", "pid"}
        assert backend.handshake["pid"] == backend.process.pid
        seconds = time.monotonic() - started
        assert backend.client.hello().torch_version
        assert seconds < 20
        backend.client.shutdown()
        wait_gone(backend.process.pid, 5)
        assert backend.process.stdout is not None and backend.process.stdout.read() == b""
        assert backend.process.wait() == 0


def test_a_frame_comes_over_the_socket(backend: Running) -> None:
    result = backend.client.run(frame(48))
    assert result.rgba.shape == (48, 48, 4) and result.depth.shape == (48, 48)
    hit = result.rgba[..., 3] > 0.5
    assert 0.05 < hit.mean() < 0.9
    assert np.isfinite(result.depth[hit]).all() and np.isinf(result.depth[~hit]).all()


def test_models_are_listed_with_the_damaged_ones(backend: Running) -> None:
    found = backend.client.models()
    assert "shapes" in [info.name for info in found.models]
    assert ("broken", "unreadable_model") in [(broken.name, broken.error.code) for broken in found.broken]


@pytest.mark.parametrize(("failure", "error"), [(1, OutOfMemory), (2, InternalError), (3, InternalError)])
def test_a_task_that_fails_ends_the_job_and_not_the_backend(
    backend: Running, failure: int, error: type[LatheError]
) -> None:
    with pytest.raises(error) as caught:
        backend.client.run(frame(fail=failure))
    if error is OutOfMemory:
        assert caught.value.remedy is not None and caught.value.remedy.value == 16
    assert backend.client.run(frame()).rgba.shape == (32, 32, 4)


def test_an_unknown_model_names_those_that_exist(backend: Running) -> None:
    with pytest.raises(UnknownModel, match="shapes"):
        backend.client.run(GenerateRequest("nothing", (Latent(),)))


# ------------------------------------------------------------------------------------------------------------ cancel


def test_cancel_while_waiting_while_running_and_after_the_end(backend: Running) -> None:
    client = backend.client
    running_job = client.submit(frame(delay=30))
    waiting_job = client.submit(frame(delay=30))
    wait_kind(client, running_job, "progress")
    client.cancel(waiting_job)
    client.cancel(running_job)
    for job in (waiting_job, running_job):
        event = client.follow(job)
        assert event.kind == "cancelled"
        with pytest.raises(Cancelled):
            client.finish(event)
        client.cancel(job)
        assert client.job(job).kind == "cancelled"


def test_the_newest_viewport_frame_supersedes_the_running_one(backend: Running) -> None:
    client = backend.client
    first = client.submit(frame(delay=30), supersede="viewport")
    wait_kind(client, first, "progress")
    started = time.monotonic()
    assert client.run(frame(), supersede="viewport").rgba.shape == (32, 32, 4)
    assert client.job(first).kind == "superseded"
    assert time.monotonic() - started < 10


def test_many_clients_at_once_each_see_one_end_of_their_jobs(backend: Running) -> None:
    jobs = [backend.client.submit(frame(8), supersede=["a", "b", ""][number % 3]) for number in range(60)]
    for job in jobs[::4]:
        backend.client.cancel(job)
    for job in jobs:
        backend.client.follow(job)
        kinds = [event.kind for event in backend.client.events(0, 0, job)]
        assert sum(kind in TERMINAL_KINDS for kind in kinds) == 1 and kinds[-1] in TERMINAL_KINDS


# ------------------------------------------------------------------------------------------------------------- wrong


def test_a_wrong_token_and_another_protocol_are_refused_in_words(backend: Running) -> None:
    stranger = Client(backend.port, "wrong")
    with pytest.raises(Unauthorized):
        stranger.hello()
    stranger.close()
    connection = http.client.HTTPConnection("127.0.0.1", backend.port, timeout=10)
    connection.request(
        "GET", routes.HELLO, headers={"Authorization": f"Bearer {backend.token}", routes.PROTOCOL_HEADER: "99"}
    )
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.status == ProtocolMismatch.http_status and body["remedy"]["action"] == "update_backend"


def test_garbage_on_the_socket_neither_ends_nor_hangs_the_backend(backend: Running) -> None:
    dice = random.Random(5)
    good = f"GET {routes.HELLO} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {backend.token}\r\n"
    garbage = [
        b"",
        b"\x00" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS hello
        b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/tasks/render HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/tasks/render HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v1/tasks/render HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        good.encode() + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        good.encode() + b"Content-Length: 99999999999999999999\r\n\r\n",
        good.encode() + b"X: " + b"a" * 2_000_000,
        b"GET /" + b"a" * 2_000_000,
        *(dice.randbytes(dice.randrange(1, 2000)) for _ in range(100)),
        *(bytes(c ^ (dice.random() < 0.02) for c in good.encode() + b"\r\n") for _ in range(100)),
    ]
    before = backend.client.hello().pid
    for data in garbage:
        answer = backend.raw(data)
        assert not answer or answer.startswith(b"HTTP/1.1 "), data[:80]
    assert backend.client.hello().pid == before


def test_a_header_without_an_end_is_cut_off(backend: Running) -> None:
    start = time.monotonic()
    assert backend.raw(b"GET / HTTP/1.1\r\nX: " + b"a" * 4_000_000) == b""
    assert time.monotonic() - start < 5


def test_connections_that_say_nothing_do_not_keep_others_waiting(backend: Running) -> None:
    import socket

    silent = [socket.create_connection(("127.0.0.1", backend.port)) for _ in range(50)]
    try:
        assert backend.client.hello().pid == backend.process.pid
    finally:
        for connection in silent:
            connection.close()


# -------------------------------------------------------------------------------------------------------- start, end


def test_a_port_that_is_taken_ends_the_start_with_one_sentence(backend: Running, tmp_path: Path) -> None:
    answer = subprocess.run(
        [*COMMAND, "--data", str(tmp_path), "serve", "--stay", "--port", str(backend.port)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert answer.returncode == 1 and answer.stdout == ""
    assert f"Port {backend.port}" in answer.stderr and "Traceback" not in answer.stderr


def test_a_data_folder_that_cannot_be_written_ends_the_start_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    answer = subprocess.run(
        [*COMMAND, "--data", str(tmp_path / "file"), "serve", "--stay"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert answer.returncode == 1 and answer.stdout == ""
    assert "cannot be written" in answer.stderr and "Traceback" not in answer.stderr


def test_the_backend_ends_when_its_stdin_does_even_in_the_middle_of_a_job(data: Path) -> None:
    with running(data) as backend:
        job = backend.client.submit(frame(delay=60))
        wait_kind(backend.client, job, "progress")
        assert backend.process.stdin is not None
        backend.process.stdin.close()
        wait_gone(backend.process.pid, 5)


@posix
@pytest.mark.parametrize("inherited", [False, True], ids=["pipe closes", "pipe held by another process"])
def test_the_backend_ends_within_five_seconds_when_its_parent_is_killed(data: Path, inherited: bool) -> None:
    """`inherited`: the write end of stdin survives the parent, so only the watched process id can tell."""
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    parent = subprocess.Popen(
        [
            sys.executable, "-c",
            "import subprocess, sys, time\n"
            f"child = subprocess.Popen({[*COMMAND, '--data', str(data), 'serve', '--device', 'cpu']!r},"
            f" stdin={reader if inherited else 'subprocess.PIPE'}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
            "sys.stdout.write(child.stdout.readline().decode())\n"
            "sys.stdout.flush()\n"
            "time.sleep(60)\n",
        ],
        cwd=ROOT, stdout=subprocess.PIPE, pass_fds=(reader,),
    )  # fmt: skip
    try:
        assert parent.stdout is not None
        handshake = json.loads(parent.stdout.readline())
        client = Client(handshake["port"], handshake["token"], timeout=60)
        client.submit(frame(delay=60))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert wait_gone(handshake["pid"], 5) < 5
        client.close()
    finally:
        parent.kill()
        parent.stdout.close()
        os.close(reader)
        os.close(writer)


@posix
def test_stay_serves_without_stdin_and_ends_at_sigterm(data: Path) -> None:
    with running(data, "--stay", stdin=subprocess.DEVNULL) as backend:
        time.sleep(1.5)
        assert backend.client.hello().pid == backend.process.pid
        backend.process.send_signal(signal.SIGTERM)
        wait_gone(backend.process.pid, 5)
        assert backend.process.wait() == 0


@posix
def test_a_job_in_a_killed_backend_is_reported_by_the_next_one_and_the_next_press_works(data: Path) -> None:
    with running(data) as first:
        job = first.client.submit(frame(delay=60))
        wait_kind(first.client, job, "progress")
        last = first.client.events()[-1].sequence
        first.process.kill()
        first.process.wait()
        started = time.monotonic()
        with pytest.raises(BackendUnavailable):
            first.client.job(job)
        assert time.monotonic() - started < 2
        with running(data) as second:
            events = [event for event in second.client.events(last) if event.job == job]
            assert [event.kind for event in events] == ["failed"]
            assert events[0].error is not None and events[0].error.code == "backend_died"
            assert "interrupted" in events[0].error.message
            assert second.client.run(frame()).rgba.shape == (32, 32, 4)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="a small file system can be mounted by root on Linux only"
)
def test_a_full_disk_is_a_sentence_and_no_end(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        shapes.write(tmp_path / "models" / "shapes")
        with running(tmp_path) as backend:
            scan = messages.ScanBlob(np.random.default_rng(0).random((400_000, 3), np.float32))
            with pytest.raises(LatheError, match="full") as caught:
                backend.client.upload(scan)
            assert caught.value.code == "cannot_write"
            with pytest.raises(OSError):
                (tmp_path / "filler").write_bytes(bytes(4 << 20))
            assert backend.client.hello().pid == backend.process.pid
            refused = 0
            for _ in range(300):
                try:
                    assert backend.client.run(frame(8)).rgba.shape == (8, 8, 4)
                except LatheError as error:
                    assert error.code == "cannot_write", error
                    refused += 1
                    if refused > 2:
                        break
            (tmp_path / "filler").unlink()
            assert backend.client.run(frame(8)).rgba.shape == (8, 8, 4)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
