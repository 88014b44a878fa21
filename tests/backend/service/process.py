"""A backend as a real process with a real socket, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from addon.link.client import Client

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "tests.backend.fixtures"]


class Running:
    """One `serve` process."""

    def __init__(self, data: Path, *arguments: str, stdin: Any = subprocess.PIPE) -> None:
        self.log = open(data / "stderr.log", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*COMMAND, "--data", str(data), "serve", "--device", "cpu", *arguments],
            cwd=ROOT, stdin=stdin, stdout=subprocess.PIPE, stderr=self.log,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (data / "stderr.log").read_text()
        self.handshake = json.loads(line)
        self.port, self.token = self.handshake["port"], self.handshake["token"]
        self.client = Client(self.port, self.token, timeout=60)

    def raw(self, data: bytes, seconds: float = 10.0) -> bytes:
        """Send bytes and return what comes until the server closes or says no more for a while."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with contextlib.suppress(OSError):  # the server may have closed already: reset, broken or not connected
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            received = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                while chunk := connection.recv(65536):
                    received += chunk
            return received

    def close(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe is not None:
                pipe.close()


@contextlib.contextmanager
def running(data: Path, *arguments: str, **options: Any) -> Iterator[Running]:
    backend = Running(data, *arguments, **options)
    try:
        yield backend
    finally:
        backend.close()


def wait_gone(pid: int, seconds: float) -> float:
    """Return how long a process took to be gone. Raises AssertionError when it stays."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return time.monotonic() - started
    os.kill(pid, 9)
    raise AssertionError(f"process {pid} is still there after {seconds} s")
