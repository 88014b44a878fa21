"""The backend as a child process: start with a handshake, stop, and detect its death. Does not import bpy.

The child's stdin is a pipe that stays open as long as this process lives, however it ends: at end of file the child
exits. The child's stdout carries one line, the handshake; its stderr goes to a log file.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..wire import errors, payload
from ..wire.messages import Handshake
from .client import Client, check_protocol

START_SECONDS = 120.0  # a first import of torch from a slow disk takes long
STOP_SECONDS = 5.0
MINIMUM_PYTHON = (3, 11)

SET_UP = errors.Remedy("set_up", "Set Up")
RESTART = errors.Remedy("restart_backend", "Restart Backend")
OPEN_LOG = errors.Remedy("open_log", "Open Log")
DOCTOR = errors.Remedy("doctor", "Check")
CHOOSE_PYTHON = errors.Remedy("choose_python", "Choose Python")


class Backend:
    """One child process. `on_exit` is called on a thread when the child ends unexpectedly."""

    def __init__(
        self,
        python: Path,
        root: Path,
        log: Path,
        *,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        on_exit: Callable[[errors.BackendDied], None] | None = None,
    ) -> None:
        """root: the folder that contains `backend/`. log: file for the child's stderr."""
        self.python, self.root, self.log = python, root, log
        self.handshake: Handshake | None = None
        self.client: Client | None = None
        self._command = [str(python), "-m", "backend", "serve", *arguments]
        self._environment = {**clean_environment(), **(environment or {})}
        self._on_exit = on_exit
        self._child: subprocess.Popen[bytes] | None = None
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._stopping = False

    @property
    def pid(self) -> int:
        """The child's process id; 0 before the start."""
        return self._child.pid if self._child else 0

    @property
    def alive(self) -> bool:
        """Return whether the child is running."""
        return self._child is not None and self._child.poll() is None

    def start(self, check: Callable[[], None] = lambda: None, timeout: float = START_SECONDS) -> Client:
        """Start the child and wait for its handshake. `check` is called several times a second and may raise.

        Raises:
            SetUpFailed, BackendUnavailable, ProtocolMismatch, CannotWrite: with a remedy.
            Cancelled: `stop` was called in the meantime.
        """
        self._spawn()
        try:
            deadline = time.monotonic() + timeout
            while True:
                check()
                if self._stopping:
                    raise errors.Cancelled()
                try:
                    line = self._lines.get(timeout=0.1)
                    break
                except queue.Empty:
                    pass
                if time.monotonic() > deadline:
                    raise errors.BackendUnavailable(
                        f"The backend did not answer for {timeout:.0f} s; see its log", remedy=OPEN_LOG
                    )
            if not line and self._stopping:
                raise errors.Cancelled()
            if not line:
                assert self._child is not None
                raise explain(self._child.wait(), tail(self.log), self.python)
            self.handshake = parse_handshake(line)
        except BaseException:
            self.stop(0.0)
            raise
        self.client = Client(self.handshake.port, self.handshake.token)
        return self.client

    def _spawn(self) -> None:
        if not self.python.is_file():
            raise errors.SetUpFailed(f"There is no Python at {self.python}: press Set Up", remedy=SET_UP)
        if not (self.root / "backend" / "__main__.py").is_file():
            raise errors.SetUpFailed(
                f"The extension's folder {self.root} does not contain the backend: install the extension again",
                remedy=errors.Remedy("update_addon", "Reinstall the Extension"),
            )
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            if self.log.is_file() and self.log.stat().st_size > 1 << 20:
                os.replace(self.log, self.log.with_suffix(".old.log"))
            with open(self.log, "ab") as log:
                log.write(f"\n--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(self._command)}\n".encode())
                self._child = subprocess.Popen(
                    self._command,
                    cwd=self.root,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    **quiet_child(),
                )
        except OSError as error:
            raise errors.CannotWrite(f"The backend cannot be started: {error}", remedy=DOCTOR) from error
        threading.Thread(target=self._read, name="lathe-stdout", daemon=True).start()
        threading.Thread(target=self._watch, name="lathe-child", daemon=True).start()

    def _read(self) -> None:
        """Queue the first line, then drain the pipe, so that a stray print never blocks the child."""
        assert self._child is not None and self._child.stdout is not None
        with self._child.stdout as pipe:
            self._lines.put(pipe.readline(1 << 16))
            while pipe.read(1 << 16):
                pass

    def _watch(self) -> None:
        assert self._child is not None
        code = self._child.wait()
        if self._child.stdin:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        if self.client:
            self.client.close()
        if not self._stopping and self.handshake and self._on_exit:
            self._on_exit(died(code))

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Stop the child by request, then by closing its stdin, then by force. May block for `timeout` seconds."""
        self._stopping = True
        child = self._child
        if child is None:
            return
        if child.poll() is None and timeout > 0 and self.client:
            with contextlib.suppress(errors.LatheError):
                self.client.shutdown()
        if child.stdin:
            with contextlib.suppress(OSError):
                child.stdin.close()
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if self.client:
            self.client.close()

    def stop_soon(self) -> None:
        """Stop the child without blocking: close stdin now, and stop it on a thread."""
        self._stopping = True
        if self._child and self._child.stdin:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        threading.Thread(target=self.stop, name="lathe-stop", daemon=True).start()


def clean_environment() -> dict[str, str]:
    """Return this process' environment without the variables that would affect another Python."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONSAFEPATH", "__PYVENV_LAUNCHER__"}
    }
    return {**kept, "PYTHONUTF8": "1", "PYTHONNOUSERSITE": "1"}


def quiet_child() -> dict[str, Any]:
    """Return Popen arguments: no console window on Windows; elsewhere a session that Ctrl-C does not reach."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def parse_handshake(line: bytes) -> Handshake:
    """Return the handshake. Raises ProtocolMismatch or BackendUnavailable for any other line."""
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    check_protocol(answer)
    return payload.from_json(Handshake, line)


def tail(log: Path, size: int = 8192) -> str:
    """Return the end of a log file; empty if there is none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def died(code: int) -> errors.BackendDied:
    """Return the error for a backend that ended unexpectedly, by its exit code."""
    if code in (-signal.SIGTERM, -9, 137):
        how = "was killed (perhaps the system ran out of memory)"
    elif code < 0:
        how = f"crashed (signal {-code})"
    else:
        how = f"ended (code {code})"
    return errors.BackendDied(f"The backend {how}", remedy=RESTART)


def explain(code: int, log: str, python: Path) -> errors.LatheError:
    """Return why the child did not start, from its log."""
    log = log.rpartition("\n--- ")[2]
    lines = [line.strip() for line in log.splitlines()[1:] if line.strip()]
    last = lines[-1] if lines else f"it ended with code {code} and no message"
    if "No module named" in last:
        module = last.rpartition("No module named")[2].strip(" '\"").split(".")[0]
        return errors.SetUpFailed(f"{python} lacks the package {module}: press Set Up", remedy=SET_UP)
    if (
        "SyntaxError" in last
        or ("ImportError" in last and "tomllib" in last)
        or "TypeError: unsupported operand" in last
    ):
        needed = ".".join(map(str, MINIMUM_PYTHON))
        return errors.SetUpFailed(f"{python} is too old; Python {needed} or later is needed", remedy=SET_UP)
    lower = log.lower()
    if "address already in use" in lower or "errno 98" in lower or "10048" in lower:
        return errors.BackendUnavailable(
            "The port is taken by another program: set the port to 0 in the preferences to let the system choose",
            remedy=errors.Remedy("any_port", "Use Any Free Port"),
        )
    if "no space left" in lower:
        return errors.CannotWrite("The disk is full: free some space and start again", remedy=RESTART)
    if "permission denied" in lower or "read-only file system" in lower:
        return errors.CannotWrite(f"The backend has no permission to write: {last}", remedy=DOCTOR)
    if "shared librar" in lower or "dll load failed" in lower or "libcuda" in lower:
        return errors.SetUpFailed(f"PyTorch does not fit this machine: {last}", remedy=SET_UP)
    if code < 0:
        return died(code)
    return errors.BackendUnavailable(f"The backend did not start: {last[:300]}", remedy=OPEN_LOG)
