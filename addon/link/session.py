"""The state of the backend, in one place, and the jobs of this Blender session. Nothing of Blender.

    not_set_up ──set up──> off ──start──> starting ──handshake──> ready ──stop──> stopping ──> off
                                             │                      │
                                             └──> failed            └──killed, crashed──> died      (start leads out)

Any job that needs the backend starts it when it is not there, so the next press after a crash works.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..wire import errors
from ..wire.messages import BrokenModel, ModelInfo, ServerInfo, StoredFit
from .client import Client
from .jobs import Job, Jobs
from .process import START_SECONDS, Backend, died

log = logging.getLogger(__name__)

State = Literal["not_set_up", "off", "starting", "ready", "stopping", "died", "failed"]

STATE_TEXTS: dict[State, str] = {
    "not_set_up": "Not set up",
    "off": "Stopped",
    "starting": "Starting …",
    "ready": "Ready",
    "stopping": "Stopping …",
    "died": "Ended",
    "failed": "Did not start",
}
WATCH_SECONDS = 3.0  # between two updates of the memory figures


@dataclass(frozen=True)
class Settings:
    """Where things are and how the backend starts. Taken from the preferences on the main thread, before each job."""

    python: Path | None  # of the environment or the user's choice; None if there is none yet
    root: Path  # holds backend/
    folder: Path  # the add-on's own folder: environment, logs
    data: Path | None = None  # models, jobs and uploads; None is the backend's own default
    device: str = "auto"
    port: int = 0

    @property
    def log(self) -> Path:
        """The backend's log file."""
        return self.folder / "logs" / "backend.log"

    @property
    def arguments(self) -> tuple[str, ...]:
        """What `python -m backend serve` gets."""
        return ("--port", str(self.port), *(() if self.device == "auto" else ("--device", self.device)))

    @property
    def environment(self) -> dict[str, str]:
        """What the child's environment gets."""
        return {"LATENT_LATHE_DATA": str(self.data)} if self.data else {}


class Session:
    """The backend's state, what it said of itself, and the jobs."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.settings: Settings | None = None
        self.models: dict[str, ModelInfo] = {}
        self.broken_models: tuple[BrokenModel, ...] = ()
        self.fits: tuple[StoredFit, ...] = ()  # radiance fields whose fit can go on
        self.fitting = ""  # the radiance field that is being fitted, or was last
        self.warnings: tuple[str, ...] = ()  # about the pictures of the last fit
        self.preview_note = ""  # about the last preview, where it is not quite what was asked for
        self.notes: tuple[str, ...] = ()  # what was done to the last picture that became a shape
        self.kinds: tuple[str, ...] = ()  # of official checkpoints that can be imported
        self.importing = ""  # the checkpoint that is being imported, or was last
        self.server: ServerInfo | None = None
        self.reason: errors.LatheError | None = None  # why the state is died or failed
        self.device = "auto"  # what the backend was started with
        self.findings: list[Any] = []  # of the doctor
        self._state: State = "off"
        self._backend: Backend | None = None
        self._stopped: Backend | None = None  # the last one that the user ended
        self._changing = threading.Lock()  # held while starting and while stopping

    @property
    def state(self) -> State:
        """Where the backend stands."""
        if self._state in ("off", "failed") and (self.settings is None or self.settings.python is None):
            return "not_set_up"
        return self._state

    @property
    def line(self) -> str:
        """The state in one line for the panel."""
        if self.state in ("died", "failed") and self.reason:
            return self.reason.message
        if self.state == "ready" and self.server:
            return f"Ready on {self.server.device_name or self.server.device}"
        return STATE_TEXTS[self.state]

    @property
    def pid(self) -> int:
        """Process id of the running backend, or 0."""
        return self._backend.pid if self._backend and self._backend.alive else 0

    # ---------------------------------------------------------------------------------- on a job's thread, may block

    def connect(self, job: Job) -> Client:
        """Return a client of the running backend, starting it if need be.

        Raises:
            SetUpFailed and others of `Backend.start`.
        """
        with self._changing:
            backend = self._backend
            if self._state == "ready" and backend and backend.alive and backend.client:
                return backend.client
            return self._start(job)

    def _start(self, job: Job) -> Client:
        settings = self.settings
        if settings is None or settings.python is None:
            raise errors.SetUpFailed("The backend is not set up yet", remedy=errors.Remedy("set_up", "Set Up"))
        job.report(0.0, "Starting the backend")
        backend = Backend(
            settings.python,
            settings.root,
            settings.log,
            arguments=settings.arguments,
            environment=settings.environment,
            on_exit=lambda reason: self._ended(backend, reason),
        )
        self._backend, self.device = backend, settings.device
        self._set("starting")
        try:
            client = backend.start(job.check)
            self.server = client.hello(START_SECONDS)  # it may be importing PyTorch still
            self.refresh_models(client, START_SECONDS)  # and models may be new to it
            job.check()
        except BaseException as error:
            unwanted = job.cancelling or backend is self._stopped  # then the connection broke because it was to
            backend.stop(0.0)
            if isinstance(error, errors.Cancelled) or (unwanted and isinstance(error, errors.LatheError)):
                self._set("off")
                raise errors.Cancelled() from None
            self._set("failed", error if isinstance(error, errors.LatheError) else None)
            raise
        self._set("ready")
        log.info("backend %d ready on %s", backend.pid, self.server.device)
        threading.Thread(target=self._watch, args=(backend, client), name="lathe-watch", daemon=True).start()
        return client

    def ask(self, job: Job, request: Any, *, supersede: str = "", start: float = 0.0, end: float = 1.0) -> Any:
        """Run a request on the backend, which is started if need be, and return its result."""
        return self.using(job, lambda client: job.ask(client, request, supersede=supersede, start=start, end=end))

    def using(self, job: Job, function: Callable[[Client], Any]) -> Any:
        """Call `function(client)`; a broken connection becomes BackendDied, or Cancelled if it was to break."""
        client = self.connect(job)
        backend = self._backend
        try:
            return function(client)
        except errors.BackendUnavailable:
            if job.cancelling or (backend is not None and backend is self._stopped):
                raise errors.Cancelled() from None
            for _ in range(10):  # the connection may break a moment before the process has ended
                if backend is None or not backend.alive:
                    reason = died(-9)
                    if backend is not None and self._state == "ready":
                        self._ended(backend, reason)  # the thread that waits for its end may be late
                    raise self.reason or reason from None
                time.sleep(0.05)
            raise

    def refresh_models(self, client: Client, timeout: float | None = None) -> None:
        """Read the list of models again."""
        found = client.models(timeout)
        self.models = {model.name: model for model in found.models}
        self.broken_models = found.broken
        self.fits = found.fits
        self.kinds = found.kinds
        self.jobs.version += 1

    def stop(self, timeout: float = 5.0) -> None:
        """End the backend. Blocks for up to `timeout` seconds; a start or stop under way ends first."""
        backend = self._backend
        if backend is not None and self._state == "starting":
            self._stopped = backend
            backend.stop(0.0)  # has the start give up, which holds the lock
        with self._changing:
            backend = self._backend
            if backend is None or self._state != "ready":
                return
            self._stopped = backend
            self._set("stopping")
            backend.stop(timeout)
            self._set("off")

    # ------------------------------------------------------------------------------------------- on the main thread

    def close(self) -> None:
        """End everything without blocking, when the add-on is disabled or Blender quits."""
        for job in self.jobs.all:
            job.cancel()
        if self._backend:
            self._backend.stop_soon()
        self._set("off")

    # ----------------------------------------------------------------------------------------------------- internals

    def _set(self, state: State, reason: errors.LatheError | None = None) -> None:
        self._state, self.reason = state, reason
        if state != "ready":
            self.server = None
        self.jobs.version += 1

    def _ended(self, backend: Backend, reason: errors.BackendDied) -> None:
        if backend is self._backend and self._state != "stopping":
            log.warning("%s", reason.message)
            self._set("died", reason)

    def _watch(self, backend: Backend, client: Client) -> None:
        """Keep the memory figures fresh while the backend runs."""
        while True:
            time.sleep(WATCH_SECONDS)
            if backend is not self._backend or not backend.alive:
                return
            try:
                server = client.hello()
                with self._changing:
                    if backend is not self._backend or self._state != "ready":
                        return
                    self.server = server
                self.jobs.version += 1
            except errors.LatheError as error:
                log.info("hello: %s", error.message)


session = Session()
"""The one of this Blender."""
