"""State of the backend and the jobs of this Blender session. Does not import bpy.

    not_set_up ──set up──> off ──start──> starting ──handshake──> ready ──stop──> stopping ──> off
                                             │                      │
                                             └──> failed            └──killed, crashed──> died      (start leads out)

Any job that needs the backend starts it if it is not running, also after a crash.
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
from ..wire.messages import BrokenModel, ModelInfo, ServerInfo, StoredFit, StoredTraining, Trainable
from .client import Client
from .jobs import Job, Jobs, Then
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
    """Folders and arguments of the backend, read from the preferences on the main thread before each job."""

    python: Path | None  # of the environment or chosen by the user; None if there is none yet
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
        """Arguments of `python -m backend serve`."""
        return ("--port", str(self.port), *(() if self.device == "auto" else ("--device", self.device)))

    @property
    def environment(self) -> dict[str, str]:
        """Additional environment variables of the backend."""
        return {"LATENT_LATHE_DATA": str(self.data)} if self.data else {}


class Session:
    """State of the backend, its models and fits, and the jobs."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.settings: Settings | None = None
        self.models: dict[str, ModelInfo] = {}
        self.broken_models: tuple[BrokenModel, ...] = ()
        self.fits: tuple[StoredFit, ...] = ()  # fits that can be continued
        self.trainings: tuple[Trainable, ...] = ()  # models that can be trained
        self.stored_trainings: tuple[StoredTraining, ...] = ()  # trainings that can be resumed
        self.training = ""  # name of the running training, or of the last one
        self.training_report: tuple[str, ...] = ()  # about the images of the last training
        self.fitting = ""  # name of the running fit, or of the last one
        self.warnings: tuple[str, ...] = ()  # about the images of the last fit
        self.preview_note = ""  # about the last preview, if it differs from what was requested
        self.notes: tuple[str, ...] = ()  # how the last image was prepared for its model
        self.kinds: tuple[str, ...] = ()  # architectures of checkpoints that can be imported
        self.importing = ""  # path of the checkpoint being imported, or of the last one
        self.server: ServerInfo | None = None
        self.reason: errors.LatheError | None = None  # of the states died and failed
        self.device = "auto"  # that the backend was started with
        self.findings: list[Any] = []  # of the last check
        self._state: State = "off"
        self._backend: Backend | None = None
        self._stopped: Backend | None = None  # the last one stopped by the user
        self._changing = threading.Lock()  # held during a start or stop

    @property
    def state(self) -> State:
        """State of the backend."""
        if self._state in ("off", "failed") and (self.settings is None or self.settings.python is None):
            return "not_set_up"
        return self._state

    @property
    def line(self) -> str:
        """The state as one line for the panel."""
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
        """Return a client of the backend, which is started if needed.

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
            unwanted = job.cancelling or backend is self._stopped  # then the connection was closed on purpose
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
        """Run a request on the backend, which is started if needed, and return the result."""
        return self.using(job, lambda client: job.ask(client, request, supersede=supersede, start=start, end=end))

    def using(self, job: Job, function: Callable[[Client], Any]) -> Any:
        """Call `function(client)`. A broken connection raises BackendDied, or Cancelled if it was closed on purpose."""
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
        """Read the lists of models, stored fits and trainings, and importable architectures from the backend."""
        found = client.models(timeout)
        self.models = {model.name: model for model in found.models}
        self.broken_models = found.broken
        self.fits = found.fits
        self.trainings, self.stored_trainings = found.trainings, found.stored_trainings
        self.kinds = found.kinds
        self.jobs.version += 1

    def stop(self, timeout: float = 5.0) -> None:
        """Stop the backend. Blocks for up to `timeout` seconds; a start or stop in progress is finished first."""
        backend = self._backend
        if backend is not None and self._state == "starting":
            self._stopped = backend
            backend.stop(0.0)  # makes the start fail, which holds the lock
        with self._changing:
            backend = self._backend
            if backend is None or self._state != "ready":
                return
            self._stopped = backend
            self._set("stopping")
            backend.stop(timeout)
            self._set("off")

    # ------------------------------------------------------------------------------------------- on the main thread

    def start(
        self,
        label: str,
        run: Callable[[Job, Client], Any],
        then: Then | None = None,
        *,
        kind: str,
        quiet: bool = False,
        survives_load: bool = False,
    ) -> Job:
        """Start a job on the backend: `run(job, client)` on a thread, then `then(result)` as in `Jobs.start`."""

        def work(job: Job) -> Any:
            return self.using(job, lambda client: run(job, client))

        return self.jobs.start(label, work, then, kind=kind, quiet=quiet, survives_load=survives_load)

    def close(self) -> None:
        """Stop everything without blocking, when the add-on is disabled or Blender quits."""
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
"""The session of this Blender."""
