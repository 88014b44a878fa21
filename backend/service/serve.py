"""The service as a process: socket, handshake, log, and its end with the parent process.

stdout carries the handshake line alone: it is redirected before anything is imported that could print. The parent holds
our stdin; when the parent ends, however it ends, the system closes that pipe and this process ends too. Because another
process may have inherited the pipe, the parent's process id is watched as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from addon.wire import payload
from addon.wire.errors import BackendUnavailable, CannotWrite, Remedy, printable
from addon.wire.messages import PROTOCOL_VERSION, Handshake, ModelList, Request, ServerInfo

from .. import VERSION
from ..blobs import BlobStore
from ..files import READER_FOLDER, remove_leftovers
from ..progress import Progress
from . import tasks
from .app import Service, create_app
from .journal import JobJournal
from .queue import JobQueue

log = logging.getLogger(__name__)

MAX_HEADER_BYTES = 1 << 19
PARENT_POLL_SECONDS = 1.0
GRACE_SECONDS = 3.0  # from the request to end to the end of the process


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with a limit on the length of a request's header."""

    _header_bytes: int = 0
    _in_header: bool = True

    def data_received(self, data: bytes) -> None:
        if self._in_header:
            self._header_bytes += len(data)
            if self._header_bytes > MAX_HEADER_BYTES:
                log.warning("a request's header is longer than %d bytes", MAX_HEADER_BYTES)
                self.transport.abort()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._in_header, self._header_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_header = True
        super().on_message_complete()


class BackendProcess:
    """Models, blobs, queue and device of one process. PyTorch is imported on the device thread, after the start."""

    def __init__(self, data: Path, device: str | None, *, idle_seconds: float = 300.0) -> None:
        self._device, self._workspace_lock = device, threading.Lock()
        self._workspace: Any = None
        for place in (data, *(data / name for name in ("fits", "trainings", "sfm", "views"))):
            remove_leftovers(place)
        remove_leftovers(Path(tempfile.gettempdir()), READER_FOLDER)
        self.blobs = BlobStore(data / "blobs")
        self.jobs = JobQueue(
            self._run, JobJournal(data), put_blob=self.blobs.put, on_idle=self._unload, idle_seconds=idle_seconds
        )
        threading.Thread(target=self._warm_up, name="warm up", daemon=True).start()

    def workspace(self) -> Any:
        """Return the workspace; the first call imports PyTorch."""
        with self._workspace_lock:
            if self._workspace is None:
                from ..tasks.workspace import Workspace

                self._workspace = Workspace(self._device, self.blobs)
            return self._workspace

    def models(self) -> ModelList:
        """See Workspace.models."""
        found: ModelList = self.workspace().models()
        return found

    def server_info(self) -> ServerInfo:
        """Return version, device and memory use of this process."""
        import torch

        device = self.workspace().device
        name, used, total = "CPU", 0, 0
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            name, used = torch.cuda.get_device_name(device), total - free
        elif device.type == "mps":
            name, used = "Apple GPU", torch.mps.driver_allocated_memory()
        return ServerInfo(
            PROTOCOL_VERSION, VERSION, os.getpid(), str(device), name, torch.__version__,
            psutil.Process().memory_info().rss, psutil.virtual_memory().total, used, total,
        )  # fmt: skip

    def _run(self, task: str, request: Request, progress: Progress) -> Any:
        return tasks.run(task, request, progress, self.workspace())

    def _unload(self) -> None:
        if self._workspace is not None:
            self._workspace.unload()

    def _warm_up(self) -> None:
        self.blobs.clean()
        workspace = self.workspace()
        log.info("device %s", workspace.device)


class Server(uvicorn.Server):
    """uvicorn server that calls `ready` when it listens, and leaves signals to `serve`."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def serve(data: Path, *, device: str | None, port: int = 0, stay: bool = False, parent: int | None = None) -> None:
    """Serve on 127.0.0.1 until a shutdown request, or until the parent process ends unless `stay`.

    Raises:
        BackendUnavailable: the port is in use.
        CannotWrite: the data folder cannot be used.
    """
    handshake_file = _take_stdout()
    keep_private(data)
    _log_to(data / "logs" / "backend.log")
    listener = _listen(port)
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(32)
    backend = BackendProcess(data, device)

    def ready() -> None:
        handshake = Handshake(PROTOCOL_VERSION, VERSION, port, token, os.getpid())
        with contextlib.suppress(BrokenPipeError), handshake_file:
            handshake_file.write(payload.to_json(handshake) + b"\n")
        log.info("Latent Lathe %s serves on 127.0.0.1:%d, process %d", VERSION, port, os.getpid())

    def stop(*_: Any) -> None:
        if not server.should_exit:
            server.should_exit = True
            # whatever hangs, the process ends
            timer = threading.Timer(GRACE_SECONDS, os._exit, (0,))
            timer.daemon = True
            timer.start()
            app.state.waker.closed = True
            app.state.waker.wake()

    app = create_app(Service(token, backend.jobs, backend.blobs, backend.server_info, backend.models, stop))
    server = Server(
        uvicorn.Config(
            app, http=BoundedHttp, loop="asyncio", ws="none", log_config=None, access_log=False, lifespan="on",
            proxy_headers=False, server_header=False, date_header=False, timeout_graceful_shutdown=1,
            timeout_keep_alive=120,
        ),
        ready,
    )  # fmt: skip
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if not stay:
        _watch_parent(stop, parent)
    with asyncio.Runner() as runner:
        runner.run(server.serve([listener]))
    stopped = backend.jobs.close(timeout=1.0)
    log.info("ends%s", "" if stopped else " during a job")
    logging.shutdown()
    os._exit(0)  # a task in a long computation must not keep the process alive


def _take_stdout() -> Any:
    """Return stdout as a binary file, and redirect all other output to stderr."""
    sys.stdout.flush()
    ours = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), 1)
    sys.stdout = sys.stderr
    return ours


def _take_stdin() -> int:
    """Return a descriptor of stdin, and make stdin the null device for everything else. On Windows, a library that
    inspects stdin while this process waits for it would block for ever."""
    ours = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return ours


def keep_private(data: Path) -> None:
    """Let no other user of the machine read what the backend keeps: folders 0700 and files 0600 from now on."""
    os.umask(0o077)
    with contextlib.suppress(OSError):  # what cannot be used is told when it is used
        data.mkdir(parents=True, exist_ok=True)
        os.chmod(data, 0o700)


class OneLine(logging.Formatter):
    """Log lines in which control characters of names from elsewhere are shown; tracebacks stay as they are."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without its traceback."""
        record.message = printable(record.message)
        return super().formatMessage(record)


def _log_to(path: Path) -> None:
    """Log to stderr and to a file that is rotated."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.handlers.RotatingFileHandler(path, maxBytes=1 << 20, backupCount=3, encoding="utf-8"))
    except OSError as error:
        raise CannotWrite(
            f"The log {path} cannot be written: {error.strerror}. Free space, or choose a folder with --data."
        ) from error
    logging.raiseExceptions = False  # a full disk or a closed pipe must not become a stream of tracebacks
    for handler in handlers:
        handler.setFormatter(OneLine("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=handlers)
    logging.captureWarnings(True)


def _listen(port: int) -> socket.socket:
    # asyncio turns Nagle's algorithm off only where the protocol is named, and with it a frame waits 80 ms for nothing
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise BackendUnavailable(
            f"Port {port} on 127.0.0.1 cannot be used: {error.strerror}. Leave out --port to have one chosen.",
            remedy=Remedy("any_port", "Let the system choose a port"),
        ) from error
    listener.listen(128)
    return listener


def _watch_parent(stop: Callable[[], None], parent: int | None) -> None:
    """Call `stop` when stdin ends or the parent process does."""
    pid = parent or os.getppid()
    try:
        watched = psutil.Process(pid)
    except psutil.NoSuchProcess:
        log.info("the parent process %d has ended already", pid)
        stop()
        return

    pipe = _take_stdin()

    def watch_stdin() -> None:
        with contextlib.suppress(OSError):
            while os.read(pipe, 4096):
                pass
        log.info("stdin has ended, so the parent has (use --stay to serve without a parent)")
        stop()

    def watch_process() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE:
                time.sleep(PARENT_POLL_SECONDS)
        log.info("the parent process %d has ended", pid)
        stop()

    for target in (watch_stdin, watch_process):
        threading.Thread(target=target, name=target.__name__, daemon=True).start()
