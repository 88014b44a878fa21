"""The queue: jobs wait, run one at a time on the thread that owns the device, and end exactly once.

A long job does not keep a moving view waiting: whenever it reports its progress, one waiting job of INTERLEAVED is run
from within the report, on the same thread, and the long job goes on where it was.

A job's life is a sequence of events: queued, started, progress, then one of TERMINAL_KINDS. Every change of state
happens under one lock and passes through `_emit`, which refuses anything after the end; so there is one terminal event
and it is the last, whatever interleaving of finishing, cancelling, superseding and closing.

Memory holds the truth of this process; SQLite holds what must outlive it: which jobs there were and how they ended. A
job found unfinished at start was interrupted, and is reported so.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import sqlite3
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from addon.wire import payload
from addon.wire.errors import (
    BackendDied,
    BackendUnavailable,
    Cancelled,
    CannotWrite,
    InternalError,
    LatheError,
    Remedy,
    ResultGone,
    UnknownJob,
    error_from_dict,
    error_to_dict,
)
from addon.wire.messages import TERMINAL_KINDS, ErrorInfo, JobEvent, JobStatus, Request, SheetResult

from ..progress import Progress

log = logging.getLogger(__name__)

Kind = Literal["queued", "started", "progress", "done", "failed", "cancelled", "superseded"]
Parts = list[bytes | memoryview]
Runner = Callable[[str, Request, Progress], Any]
T = TypeVar("T")

MAX_ENDED_JOBS = 500
MAX_UNFINISHED_JOBS = 1000
MAX_RESULT_BYTES = 1 << 29
EVENT_SECONDS = 0.05
PREVIEW_SECONDS = 0.25
TEXT_SECONDS = 0.01
INTERLEAVED = frozenset({"render"})  # tasks that are run from within others, and within which none is run
MAX_RESPITE_SECONDS = 1.0  # after a job within another, that one goes on for as long, but no longer than this
RESUMABLE = frozenset({"fit"})  # tasks that save their state; their requests name it


def error_info(error: LatheError) -> ErrorInfo:
    """Return an error as the message that carries it."""
    return payload.from_plain(ErrorInfo, error_to_dict(error))


@dataclass
class Job:
    """One piece of work. Everything but `stop` changes under the queue's lock only."""

    id: str
    task: str
    request: Request | None
    key: str | None
    submitted_at: float
    kind: Kind = "queued"
    fraction: float = 0.0
    text: str = ""
    error: LatheError | None = None
    stop: Literal["", "cancelled", "superseded"] = ""  # wanted end; the running task learns it through its Progress
    figures: dict[str, float] = field(default_factory=dict)
    event_sequences: list[int] = field(default_factory=list)
    name: str = ""  # of the state that a RESUMABLE task saves; known of jobs of an earlier process

    @property
    def ended(self) -> bool:
        return self.kind in TERMINAL_KINDS

    def status(self) -> JobStatus:
        error = None if self.error is None else error_info(self.error)
        return JobStatus(self.id, self.task, self.kind, self.fraction, self.text, self.submitted_at, error)


class Journal:
    """What outlives the process, in SQLite. The file is this process' alone while it lives, so that two backends never
    take each other's running jobs for interrupted ones."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = self._open_free(folder)
        except (sqlite3.Error, OSError) as error:
            raise CannotWrite(
                f"The list of jobs in {folder} cannot be opened ({error}). Check the disk's space and permissions.",
                remedy=Remedy("open_folder", "Show the folder", str(folder)),
            ) from error
        self._lock = threading.Lock()

    @staticmethod
    def _open_free(folder: Path) -> sqlite3.Connection:
        for number in itertools.count(1):
            path = folder / f"jobs-{number}.sqlite"
            database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            try:
                # exclusive: held until the process ends, however it ends. Without fsync a power cut may lose the last
                # jobs; a killed process loses nothing.
                database.execute("PRAGMA locking_mode = EXCLUSIVE")
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = OFF")
                database.executescript(
                    """
                    BEGIN IMMEDIATE;
                    CREATE TABLE IF NOT EXISTS jobs (
                        id TEXT PRIMARY KEY, task TEXT NOT NULL, request TEXT NOT NULL, submitted_at REAL NOT NULL,
                        kind TEXT NOT NULL DEFAULT 'queued', ended_at REAL, error TEXT, result_bytes INTEGER,
                        sequence INTEGER NOT NULL DEFAULT 0);
                    COMMIT;
                    """
                )
                return database
            except sqlite3.DatabaseError as error:
                database.close()
                if isinstance(error, sqlite3.OperationalError) and "locked" in str(error) and number < 64:
                    continue
                if isinstance(error, sqlite3.OperationalError):
                    raise
                log.warning("%s is damaged (%s); it is set aside", path, error)
                path.replace(path.with_suffix(".damaged"))
                for rest in ("-wal", "-shm"):
                    path.with_name(path.name + rest).unlink(missing_ok=True)
                return Journal._open_free(folder)
        raise AssertionError("unreachable")

    def _write(self, sql: str, *values: Any) -> None:
        with self._lock:
            self._database.execute(sql, values)

    def submitted(self, job: Job) -> None:
        """Record a job before it is promised to anybody. Raises CannotWrite."""
        text = payload.to_json(job.request).decode()
        try:
            self._write(
                "INSERT INTO jobs (id, task, request, submitted_at) VALUES (?, ?, ?, ?)",
                job.id, job.task, text, job.submitted_at,
            )  # fmt: skip
        except sqlite3.Error as error:
            raise CannotWrite(
                f"The job could not be recorded ({error}): the disk may be full. Free some space and try again."
            ) from error

    def ended(self, job: Job, sequence: int, result_bytes: int) -> None:
        """Record the end; if that fails, the next process reports the job as interrupted."""
        error = None if job.error is None else json.dumps(error_to_dict(job.error))
        self._best_effort(
            "UPDATE jobs SET kind = ?, ended_at = ?, error = ?, result_bytes = ?, sequence = ? WHERE id = ?",
            job.kind, time.time(), error, result_bytes, sequence, job.id,
        )  # fmt: skip

    def forget(self, job: str) -> None:
        """Remove a job."""
        self._best_effort("DELETE FROM jobs WHERE id = ?", job)

    def _best_effort(self, sql: str, *values: Any) -> None:
        try:
            self._write(sql, *values)
        except sqlite3.Error as error:
            log.error("The list of jobs cannot be written: %s", error)

    def jobs(self) -> Iterator[tuple[Job, int]]:
        """Yield the recorded jobs with the sequence number of their last event, oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, task, request, submitted_at, kind, error, sequence FROM jobs ORDER BY submitted_at"
            ).fetchall()
        for id, task, request, submitted_at, kind, error, sequence in rows:
            job = Job(id, task, None, None, submitted_at, kind)
            job.name = str(json.loads(request).get("name", "")) if task in RESUMABLE else ""
            job.fraction = 1.0 if kind == "done" else 0.0
            job.error = error_from_dict(json.loads(error)) if error else None
            yield job, sequence

    def close(self) -> None:
        """Let another process have the file."""
        with self._lock:
            self._database.close()


class JobQueue:
    """Runs submitted requests one after another with `run(task, request, progress)` on a thread of its own."""

    def __init__(
        self,
        run: Runner,
        journal: Journal,
        *,
        put_blob: Callable[[bytes], str] | None = None,
        on_idle: Callable[[], None] = lambda: None,
        idle_seconds: float = 300.0,
        max_result_bytes: int = MAX_RESULT_BYTES,
    ) -> None:
        self._run, self._journal, self._put_blob = run, journal, put_blob
        self._on_idle, self._idle_seconds, self._max_result_bytes = on_idle, idle_seconds, max_result_bytes
        self._changed = threading.Condition(threading.RLock())
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []  # one, and perhaps one within it
        self._events: OrderedDict[int, JobEvent] = OrderedDict()  # ascending
        self._results: OrderedDict[str, Parts] = OrderedDict()  # least recently used first
        # Microseconds since the epoch to start with: events are rarer than that, so the numbers grow over restarts too.
        self._sequence = time.time_ns() // 1_000
        self._listeners: list[Callable[[], None]] = []
        self._closing = False
        self._recover()
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------------------- requests

    def submit(self, task: str, request: Request, *, supersede: str | None = None) -> str:
        """Queue a request and return the job's id; ends unfinished jobs with the same `supersede` key.

        Raises:
            CannotWrite: the job cannot be recorded.
            BackendUnavailable: closing, or too many jobs wait.
        """
        job = Job(uuid.uuid4().hex, task, request, supersede, time.time())
        with self._changed:
            if self._closing:
                raise BackendUnavailable("The backend is shutting down.")
            if len(self._waiting) >= MAX_UNFINISHED_JOBS:
                raise BackendUnavailable(f"{len(self._waiting)} jobs are waiting already. Cancel some of them.")
            self._journal.submitted(job)
            if supersede is not None:
                for other in [*self._waiting, *self._running]:
                    if other.key == supersede:
                        self._stop(other, "superseded")
            self._jobs[job.id] = job
            self._emit(job, "queued")
            self._waiting.append(job)
            self._changed.notify_all()
        return job.id

    def cancel(self, job: str) -> JobStatus:
        """Stop a job if it has not ended yet; asking again changes nothing. Raises UnknownJob."""
        with self._changed:
            found = self._find(job)
            self._stop(found, "cancelled")
            return found.status()

    def status(self, job: str) -> JobStatus:
        """Return a job as it stands. Raises UnknownJob."""
        with self._changed:
            return self._find(job).status()

    def all(self) -> list[JobStatus]:
        """Return all known jobs, newest first."""
        with self._changed:
            return [job.status() for job in reversed(self._jobs.values())]

    def events_after(self, sequence: int, job: str | None = None) -> list[JobEvent]:
        """Return the kept events with a higher sequence number, in order. Raises UnknownJob."""
        found = []
        with self._changed:
            if job is not None:
                numbers = self._find(job).event_sequences
                return [self._events[n] for n in numbers if n > sequence]
            for number in reversed(self._events):
                if number <= sequence:
                    break
                found.append(self._events[number])
        return found[::-1]

    def result(self, job: str) -> Parts | None:
        """Return the packed result in parts, None while the job has not ended; otherwise raises how it ended.

        Raises:
            UnknownJob, ResultGone, or the error with which the job failed; Cancelled.
        """
        with self._changed:
            found = self._find(job)
            if not found.ended:
                return None
            if found.kind in ("cancelled", "superseded"):
                raise Cancelled("A newer request replaced this one" if found.kind == "superseded" else "Cancelled")
            if found.error is not None:
                raise found.error
            if job not in self._results:
                raise ResultGone("The result of this job is no longer kept. Start it again.")
            self._results.move_to_end(job)
            return self._results[job]

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each event, from whatever thread; it must return at once."""
        with self._changed:
            self._listeners.append(listener)

    def close(self, timeout: float = 3.0) -> bool:
        """Cancel everything, stop the thread, and return whether it stopped in time. No job can be submitted after."""
        with self._changed:
            self._closing = True
            for job in list(self._waiting):
                self._stop(job, "cancelled")
            for job in self._running:
                self._stop(job, "cancelled")
            self._changed.notify_all()
        self._thread.join(timeout)
        stopped = not self._thread.is_alive()
        if stopped:
            self._journal.close()
        return stopped

    # ------------------------------------------------------------------------------------- changes of state, locked

    def _find(self, job: str) -> Job:
        try:
            return self._jobs[job]
        except KeyError:
            raise UnknownJob(f"There is no job {job[:40]!r} here (any more).") from None

    def _emit(self, job: Job, kind: Kind, preview: str = "") -> int:
        if job.ended:
            raise AssertionError(f"job {job.id} has ended as {job.kind} and cannot become {kind}")
        newest = job.event_sequences[-1] if job.event_sequences else None
        if newest is not None and kind == "progress" and self._events[newest].kind == "progress":
            preview = preview or self._events[newest].preview
            del self._events[newest], job.event_sequences[-1]
        job.kind = kind
        error = None if job.error is None else error_info(job.error)
        self._sequence = sequence = self._sequence + 1
        self._events[sequence] = JobEvent(sequence, job.id, kind, job.fraction, job.text, preview, error, job.figures)
        job.event_sequences.append(sequence)
        for listener in self._listeners:
            listener()
        return sequence

    def _end(self, job: Job, kind: Kind, *, error: LatheError | None = None, parts: Parts | None = None) -> None:
        if parts is not None:
            self._keep_result(job.id, parts)
        if kind == "done":
            job.fraction = 1.0
        job.error, job.request = error, None
        sequence = self._emit(job, kind)
        self._journal.ended(job, sequence, sum(len(part) for part in parts or ()))
        ended = [j for j in self._jobs.values() if j.ended] if len(self._jobs) > MAX_ENDED_JOBS else []
        for old in ended[: max(0, len(ended) - MAX_ENDED_JOBS)]:
            del self._jobs[old.id]
            for number in old.event_sequences:
                del self._events[number]
            self._results.pop(old.id, None)
            self._journal.forget(old.id)

    def _keep_result(self, job: str, parts: Parts) -> None:
        self._results[job] = parts
        total = sum(len(part) for kept in self._results.values() for part in kept)
        while total > self._max_result_bytes and len(self._results) > 1:  # the newest stays, however large
            _, dropped = self._results.popitem(last=False)
            total -= sum(len(part) for part in dropped)

    def _stop(self, job: Job, how: Literal["cancelled", "superseded"]) -> None:
        if job.ended:
            return
        job.stop = job.stop or how
        if not any(job is running for running in self._running):
            self._waiting.remove(job)
            self._end(job, how)

    def _recover(self) -> None:
        for job, sequence in list(self._journal.jobs()):
            self._jobs[job.id] = job
            if job.ended:
                self._events[sequence] = JobEvent(
                    sequence,
                    job.id,
                    job.kind,
                    job.fraction,
                    "",
                    "",
                    None if job.error is None else error_info(job.error),
                )
                job.event_sequences.append(sequence)
        self._events = OrderedDict(sorted(self._events.items()))
        self._sequence = max(self._sequence, *self._events, 0)
        for job in list(self._jobs.values()):
            if not job.ended:
                self._end(job, "failed", error=_interrupted(job))

    # ---------------------------------------------------------------------------------------------- the device thread

    def _work(self) -> None:
        while True:
            with self._changed:
                woken = self._changed.wait_for(lambda: self._waiting or self._closing, self._idle_seconds)
            if not woken:
                try:
                    self._on_idle()
                except Exception:  # giving memory back is a courtesy; the thread must live
                    log.exception("unloading failed")
                continue
            if self._closing:
                return
            if (job := self._take(lambda job: True)) is not None:
                self._execute(job)

    def _take(self, wanted: Callable[[Job], bool]) -> Job | None:
        """Start the first waiting job that is wanted; None where there is none (any more)."""
        with self._changed:
            job = next(filter(wanted, self._waiting), None)
            if job is not None:
                self._waiting.remove(job)
                self._running.append(job)
                self._emit(job, "started")
            return job

    def _execute(self, job: Job) -> None:
        """Run a job that was taken to its end, whatever that is."""
        request = job.request
        assert request is not None
        started = time.perf_counter()
        error: LatheError | None = None
        parts: Parts | None = None
        try:
            parts = payload.pack_parts(self._run(job.task, request, self._progress_of(job)))
        except LatheError as raised:
            error = raised
        except BaseException as raised:  # whatever it is, the job must end and the thread must live
            log.exception("job %s (%s) failed", job.id, job.task)
            error = InternalError(
                f"Something went wrong in the backend ({type(raised).__name__}: {raised}). See the log.",
                remedy=Remedy("open_log", "Show the log"),
            )
        with self._changed:
            self._running.pop()
            if job.stop:
                self._end(job, job.stop)
            elif isinstance(error, Cancelled):
                self._end(job, "cancelled")
            elif error is not None:
                self._end(job, "failed", error=error)
            else:
                self._end(job, "done", parts=parts)
            kind = job.kind
        seconds = time.perf_counter() - started
        log.info("job %s (%s) %s after %.3f s%s", job.id, job.task, kind, seconds, f": {error}" if error else "")

    def _progress_of(self, job: Job) -> Progress:
        last_event = last_preview = respite_end = -math.inf

        def report(
            fraction: float,
            text: str = "",
            preview: np.ndarray | None = None,
            *,
            figures: dict[str, float] | None = None,
        ) -> None:
            nonlocal last_event, last_preview, respite_end
            if job.stop:
                raise Cancelled()
            now = time.monotonic()
            shown = preview is not None and self._put_blob is not None and now - last_preview >= PREVIEW_SECONDS
            if shown or now - last_event >= (EVENT_SECONDS if text == job.text else TEXT_SECONDS):
                last_event, sha256 = now, ""
                if shown:
                    assert preview is not None and self._put_blob is not None
                    last_preview = now
                    try:
                        sha256 = self._put_blob(payload.pack(SheetResult(np.ascontiguousarray(preview)[None])))
                    except LatheError as error:
                        log.warning("no preview: %s", error)
                with self._changed:
                    if job.stop:
                        raise Cancelled()
                    job.fraction, job.text = min(max(float(fraction), 0.0), 1.0), text
                    if figures is not None:
                        job.figures = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
                    self._emit(job, "progress", sha256)
            if self._waiting and now >= respite_end and self._serve_view(job):
                after = time.monotonic()
                respite_end = after + min(after - now, MAX_RESPITE_SECONDS)
                if job.stop:
                    raise Cancelled()

        return report

    def _serve_view(self, host: Job) -> bool:
        """Run one waiting job of INTERLEAVED from within `host`, and return whether there was one."""
        if host.task in INTERLEAVED or threading.current_thread() is not self._thread:
            return False
        job = self._take(lambda job: job.task in INTERLEAVED)
        if job is not None:
            self._execute(job)
        return job is not None


def _interrupted(job: Job) -> BackendDied:
    """Return what a job is told that was unfinished when its process ended."""
    if job.name:
        return BackendDied(
            f"The backend ended while this job was waiting or running; it was interrupted. {job.name} goes on from its "
            "last autosave, if there was one.",
            remedy=Remedy("resume_fit", "Continue", job.name),
        )
    return BackendDied(
        "The backend ended while this job was waiting or running; it was interrupted. Start it again.",
        remedy=Remedy("retry", "Start it again"),
    )
