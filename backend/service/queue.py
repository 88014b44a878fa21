"""Job queue: jobs run one at a time on the thread that owns the device, and each ends exactly once.

A long job does not block a moving view: whenever it reports its progress, one waiting job of an interleaved task
(`tasks.TaskSpec`) runs within the report, on the same thread; then the long job continues.

A job's life is a sequence of events: queued, started, progress, then one of TERMINAL_KINDS. Every change of state
happens under one lock and passes through `_emit`, which refuses anything after the end; so there is one terminal event
and it is the last, whatever interleaving of finishing, cancelling, superseding and closing.

The queue's state is in memory; the journal (SQLite) records which jobs there were and how they ended. A job that is
unfinished in the journal at start was interrupted, and is reported so.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from addon.wire import payload
from addon.wire.errors import (
    BackendDied,
    BackendUnavailable,
    Cancelled,
    InternalError,
    LatheError,
    Remedy,
    ResultGone,
    UnknownJob,
)
from addon.wire.messages import JobEvent, JobStatus, Request, SheetResult

from ..progress import Progress
from .job import Kind, QueuedJob, error_info
from .journal import JobJournal
from .tasks import is_interleaved, resume_remedy

log = logging.getLogger(__name__)
Parts = list[bytes | memoryview]
Runner = Callable[[str, Request, Progress], Any]

MAX_ENDED_JOBS = 500
MAX_UNFINISHED_JOBS = 1000
MAX_RESULT_BYTES = 1 << 29
EVENT_SECONDS = 0.05
PREVIEW_SECONDS = 0.25
TEXT_SECONDS = 0.01
MAX_RESPITE_SECONDS = 1.0  # a job that was interleaved is followed by as long a run of its host, but no longer


class JobQueue:
    """Queue that runs requests one after another with `run(task, request, progress)` on a thread of its own."""

    def __init__(
        self,
        run: Runner,
        journal: JobJournal,
        *,
        put_blob: Callable[[bytes], str] | None = None,
        on_idle: Callable[[], None] = lambda: None,
        idle_seconds: float = 300.0,
        max_result_bytes: int = MAX_RESULT_BYTES,
    ) -> None:
        self._run, self._journal, self._put_blob = run, journal, put_blob
        self._on_idle, self._idle_seconds, self._max_result_bytes = on_idle, idle_seconds, max_result_bytes
        self._changed = threading.Condition(threading.RLock())
        self._jobs: OrderedDict[str, QueuedJob] = OrderedDict()
        self._waiting: deque[QueuedJob] = deque()
        self._running: list[QueuedJob] = []  # one, and perhaps one within it
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
        job = QueuedJob(uuid.uuid4().hex, task, request, supersede, time.time())
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
        """Cancel a job unless it has ended; doing so again changes nothing. Raises UnknownJob."""
        with self._changed:
            found = self._find(job)
            self._stop(found, "cancelled")
            return found.status()

    def status(self, job: str) -> JobStatus:
        """Return the status of a job. Raises UnknownJob."""
        with self._changed:
            return self._find(job).status()

    def all(self) -> list[JobStatus]:
        """Return all jobs, newest first."""
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

    def _find(self, job: str) -> QueuedJob:
        try:
            return self._jobs[job]
        except KeyError:
            raise UnknownJob(f"There is no job {job[:40]!r} here (any more).") from None

    def _emit(self, job: QueuedJob, kind: Kind, preview: str = "") -> int:
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

    def _end(self, job: QueuedJob, kind: Kind, *, error: LatheError | None = None, parts: Parts | None = None) -> None:
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

    def _stop(self, job: QueuedJob, how: Literal["cancelled", "superseded"]) -> None:
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
                except Exception:  # freeing memory is optional; the thread must live
                    log.exception("unloading failed")
                continue
            if self._closing:
                return
            if (job := self._take(lambda job: True)) is not None:
                self._execute(job)

    def _take(self, wanted: Callable[[QueuedJob], bool]) -> QueuedJob | None:
        """Start the first waiting job that satisfies `wanted`; return None where there is none."""
        with self._changed:
            job = next(filter(wanted, self._waiting), None)
            if job is not None:
                self._waiting.remove(job)
                self._running.append(job)
                self._emit(job, "started")
            return job

    def _execute(self, job: QueuedJob) -> None:
        """Run a started job to its end."""
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

    def _progress_of(self, job: QueuedJob) -> Progress:
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
                        images = preview if preview.ndim == 4 else preview[None]
                        sha256 = self._put_blob(payload.pack(SheetResult(np.ascontiguousarray(images))))
                    except LatheError as error:
                        log.warning("no preview: %s", error)
                with self._changed:
                    if job.stop:
                        raise Cancelled()
                    job.fraction, job.text = min(max(float(fraction), 0.0), 1.0), text
                    if figures is not None:
                        job.figures = {name: float(value) for name, value in figures.items() if math.isfinite(value)}
                    self._emit(job, "progress", sha256)
            if self._waiting and now >= respite_end and self._interleave(job):
                after = time.monotonic()
                respite_end = after + min(after - now, MAX_RESPITE_SECONDS)
                if job.stop:
                    raise Cancelled()

        return report

    def _interleave(self, host: QueuedJob) -> bool:
        """Run one waiting job of an interleaved task within `host`, and return whether there was one."""
        if is_interleaved(host.task) or threading.current_thread() is not self._thread:
            return False
        job = self._take(lambda job: is_interleaved(job.task))
        if job is not None:
            self._execute(job)
        return job is not None


def _interrupted(job: QueuedJob) -> BackendDied:
    """Return the error of a job that was unfinished when its process ended."""
    if job.name:
        return BackendDied(
            f"The backend ended while this job was waiting or running; it was interrupted. {job.name} continues "
            "from its last autosave, if there was one.",
            remedy=resume_remedy(job.task, job.name),
        )
    return BackendDied(
        "The backend ended while this job was waiting or running; it was interrupted. Start it again.",
        remedy=Remedy("retry", "Start it again"),
    )
