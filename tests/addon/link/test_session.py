"""The child process and the backend's states, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from addon.link.jobs import Job
from addon.link.process import Backend, explain, parse_handshake
from addon.link.session import Session, Settings
from addon.wire import errors, messages

from .. import fake_backend
from ..fake_backend import CRASH, HANG, make_root

CAMERA = messages.Camera(messages.IDENTITY4, ((50.0, 0.0, 16.0), (0.0, 50.0, 8.0), (0.0, 0.0, 1.0)), 32, 16)


def settings(folder: Path, main: str | None = None, python: Path | None = None) -> Settings:
    root = make_root(folder / "an extension", main) if main is not None else make_root(folder / "an extension")
    return Settings(python or Path(sys.executable), root, folder / "user", folder / "data")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session()
    session.settings = settings(tmp_path)
    yield session
    session.stop()


def render(session: Session, seed: int = 0) -> Job:
    request = messages.RenderRequest(messages.SceneRef("sphere", messages.Latent(seed)), CAMERA)
    return session.jobs.start("Render", lambda job: session.ask(job, request), kind="render")


def start(session: Session) -> None:
    session.jobs.wait_for(session.jobs.start("Start", session.connect, kind="start"), 30)


def until(what: object, condition: object, seconds: float = 2.0) -> float:
    begun = time.monotonic()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() - begun < seconds, what
        time.sleep(0.005)
    return time.monotonic() - begun


def test_a_first_request_starts_the_backend(session: Session) -> None:
    assert session.state == "off"
    result = session.jobs.wait_for(render(session), 30)
    assert result.rgba.shape == (16, 32, 4)
    assert session.state == "ready" and session.line == "Ready on Fake CPU"
    assert set(session.models) == {"sphere", "flat"}


def test_stop_ends_the_process_and_start_makes_another(session: Session) -> None:
    start(session)
    first = session.pid
    session.stop()
    assert session.state == "off" and session.pid == 0
    start(session)
    assert session.pid not in (0, first)


def test_a_killed_backend_shows_within_two_seconds_and_the_next_press_works(session: Session) -> None:
    start(session)
    job = render(session, HANG)
    until("running", lambda: job.fraction == 0.5)
    os.kill(session.pid, signal.SIGKILL)
    until("the state says so", lambda: session.state == "died")
    with pytest.raises(errors.BackendDied) as caught:
        session.jobs.wait_for(job, 2)
    assert "was killed" in session.line
    assert caught.value.remedy and caught.value.remedy.action == "restart_backend"
    assert session.jobs.wait_for(render(session), 30).rgba.shape == (16, 32, 4)
    assert session.state == "ready"


def test_a_backend_that_crashes_in_a_job_fails_that_job(session: Session) -> None:
    start(session)
    with pytest.raises(errors.BackendDied):
        session.jobs.wait_for(render(session, CRASH), 10)
    assert session.state == "died"


def test_cancel_ends_a_request_in_the_backend(session: Session) -> None:
    start(session)
    job = render(session, HANG)
    until("running", lambda: job.fraction == 0.5)
    job.cancel()
    with pytest.raises(errors.Cancelled):
        session.jobs.wait_for(job, 5)
    assert session.state == "ready"


def test_cancel_while_starting_leaves_no_process(tmp_path: Path) -> None:
    session = Session()
    session.settings = settings(tmp_path, "import time; time.sleep(60)")
    job = session.jobs.start("Start", session.connect, kind="start")
    until("starting", lambda: session.pid)
    pid = session.pid
    job.cancel()
    with pytest.raises(errors.Cancelled):
        session.jobs.wait_for(job, 5)
    assert session.state == "off"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


DEAF = """
import os, socket, time
from addon.wire import messages, payload
server = socket.create_server(("127.0.0.1", 0))
port = server.getsockname()[1]
print(payload.to_json(messages.Handshake(messages.PROTOCOL_VERSION, "1", port, "t", os.getpid())).decode(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("main", ["import time; time.sleep(60)", DEAF])
def test_stop_while_starting_is_no_failure(main: str, tmp_path: Path) -> None:
    session = Session()
    session.settings = settings(tmp_path, main)
    job = session.jobs.start("Start", session.connect, kind="start")
    until("starting", lambda: session.pid and (main != DEAF or session._backend.handshake), 20)
    session.stop()
    with pytest.raises(errors.Cancelled):
        session.jobs.wait_for(job, 10)
    assert session.state == "off" and session.pid == 0 and session.jobs.failed is None


def test_stop_in_the_middle_of_a_request_is_no_failure(session: Session) -> None:
    start(session)
    job = render(session, HANG)
    until("running", lambda: job.fraction == 0.5)
    session.stop()
    with pytest.raises(errors.Cancelled):
        session.jobs.wait_for(job, 10)
    assert session.state == "off" and session.jobs.failed is None


def test_restart_while_stopping_waits_and_leaves_one_backend(session: Session) -> None:
    start(session)
    first, gate = session._backend, threading.Event()
    assert first is not None
    end, pid = first.stop, first.pid

    def slowly(timeout: float) -> None:
        gate.wait(10)
        end(timeout)

    first.stop = slowly  # type: ignore[method-assign]
    stopping = threading.Thread(target=session.stop)
    stopping.start()
    until("stopping", lambda: session.state == "stopping")

    def restart(job: Job) -> None:
        session.stop()
        session.connect(job)

    job = session.jobs.start("Restart", restart, kind="start")
    time.sleep(0.1)
    assert session.state == "stopping"
    gate.set()
    session.jobs.wait_for(job, 30)
    stopping.join()
    assert session.state == "ready" and session.pid not in (0, pid) and not first.alive


def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    script = (
        "import sys, time; from pathlib import Path; from addon.link.process import Backend\n"
        f"backend = Backend(Path(sys.executable), Path({str(root)!r}), Path({str(tmp_path / 'log')!r}))\n"
        "backend.start(); print(backend.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=fake_backend.REPOSITORY
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()

    def gone() -> bool:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            return state in "ZX"
        except OSError:
            return True

    if sys.platform == "linux":
        until("the child ends", gone, 5)


FAULTS = {
    "import torhc": (errors.SetUpFailed, "lacks the package torhc", "set_up"),
    "import os; os.kill(os.getpid(), 9)": (errors.BackendDied, "was killed", "restart_backend"),
    "raise OSError(98, 'Address already in use')": (errors.BackendUnavailable, "port is taken", "any_port"),
    "raise OSError(28, 'No space left on device')": (errors.CannotWrite, "disk is full", "restart_backend"),
    "raise PermissionError(13, 'Permission denied', '/x')": (errors.CannotWrite, "no permission to write", "doctor"),
    "raise ImportError('libcudart.so.12: cannot open shared library')": (errors.SetUpFailed, "does not fit", "set_up"),
    "raise RuntimeError('strange')": (errors.BackendUnavailable, "RuntimeError: strange", "open_log"),
    "print('hello')": (errors.BackendUnavailable, "not a Latent Lathe backend", "restart_backend"),
    "print('{\"protocol\": 0}')": (errors.ProtocolMismatch, "backend is older", "restart_backend"),
    'print(\'{"protocol": 77, "new": 1}\')': (errors.ProtocolMismatch, "add-on is older", "update_addon"),
    "pass": (errors.BackendUnavailable, "no message", "open_log"),
}


@pytest.mark.parametrize("main", FAULTS)
def test_a_backend_that_does_not_start_says_why_and_what_to_do(main: str, tmp_path: Path) -> None:
    session = Session()
    session.settings = settings(tmp_path, main)
    kind, sentence, action = FAULTS[main]
    with pytest.raises(kind, match=sentence) as caught:
        start(session)
    assert caught.value.remedy and caught.value.remedy.action == action
    assert session.state == "failed" and sentence in session.line


def test_no_environment_and_a_missing_python_lead_to_set_up(tmp_path: Path) -> None:
    session = Session()
    assert session.state == "not_set_up"
    with pytest.raises(errors.SetUpFailed):
        start(session)
    session.settings = settings(tmp_path, python=tmp_path / "no" / "python")
    with pytest.raises(errors.SetUpFailed, match="There is no Python at"):
        start(session)


def test_an_extension_without_its_backend_says_so(tmp_path: Path) -> None:
    backend = Backend(Path(sys.executable), tmp_path, tmp_path / "log")
    with pytest.raises(errors.SetUpFailed, match="install the extension again"):
        backend.start()


def test_a_log_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    backend = Backend(Path(sys.executable), make_root(tmp_path / "root"), tmp_path / "file" / "log")
    with pytest.raises(errors.CannotWrite):
        backend.start()


def test_a_backend_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root", "import time; time.sleep(60)")
    backend = Backend(Path(sys.executable), root, tmp_path / "log")
    with pytest.raises(errors.BackendUnavailable, match="did not answer"):
        backend.start(timeout=0.3)
    assert not backend.alive


def test_stray_output_after_the_handshake_does_not_block_the_child(tmp_path: Path) -> None:
    main = (
        "import threading\nfrom tests.addon.fake_backend import serve\n"
        "threading.Timer(0.3, lambda: print('x' * 1_000_000, flush=True)).start()\nserve()"
    )
    session = Session()
    session.settings = settings(tmp_path, main)
    start(session)
    time.sleep(0.6)
    assert session.jobs.wait_for(render(session), 5) is not None
    session.stop()


def test_the_log_of_an_earlier_run_does_not_explain_this_one() -> None:
    log = "\n--- 1 python\nModuleNotFoundError: No module named 'torch'\n\n--- 2 python\nOSError: strange\n"
    assert "strange" in explain(1, log, Path("python")).message


def test_close_ends_everything_without_blocking(session: Session) -> None:
    start(session)
    job = render(session, HANG)
    pid = session.pid
    begun = time.monotonic()
    session.close()
    assert time.monotonic() - begun < 0.1
    with pytest.raises(errors.LatheError):
        session.jobs.wait_for(job, 5)

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    until("the child is gone", gone, 5)


def test_a_handshake_is_strict() -> None:
    good = messages.Handshake(messages.PROTOCOL_VERSION, "1", 80, "t", 5)
    from addon.wire import payload

    assert parse_handshake(payload.to_json(good)) == good
    with pytest.raises(errors.LatheError):
        parse_handshake(b'{"protocol": %d}' % messages.PROTOCOL_VERSION)


def test_a_backend_that_hangs_does_not_hold_the_main_thread(session: Session) -> None:
    start(session)
    os.kill(session.pid, signal.SIGSTOP)
    try:
        job = render(session)
        begun = time.monotonic()
        for _ in range(20):
            session.jobs.pump()
            job.cancel()
        assert time.monotonic() - begun < 0.2
    finally:
        os.kill(session.pid, signal.SIGCONT)
    with pytest.raises(errors.LatheError):
        session.jobs.wait_for(job, 15)
