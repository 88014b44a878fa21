"""Jobs that do not block Blender: a function on a thread, then a function on the main thread.

`work(job)` runs on a thread of its own and never uses Blender's data. When it returns, `then(result)` runs on the main
thread, called by `pump`, which one Blender timer calls (background Blender has none: scripts call `wait_for`). `then`
may be a generator function: each `yield` returns the main thread when the tick's time is used up, so that a large
result reaches the scene in steps of a few milliseconds; `yield LATER` returns it at once. What `then` returns is the
job's result. Neither function may keep references to Blender's data (see `scene.apply.Handle`).
"""

from __future__ import annotations

import _thread
import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ..wire import errors
from ..wire.messages import JobEvent
from .client import Client

log = logging.getLogger(__name__)

TICK_BUDGET_SECONDS = 0.008
KEPT_JOBS = 8
ESTIMATE_SECONDS, ESTIMATE_FRACTION = 2.0, 0.05
"""Time and progress from which on the time left is estimated by the mean speed."""

State = Literal["preparing", "running", "applying", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")

Work = Callable[["Job"], Any]
Steps = Generator[Any, None, Any]
Then = Callable[[Any], Any]

LATER = "later"
"""Yielded by steps that have nothing to do until the next tick."""


class Job:
    """One job, as shown in the panel. `fraction` and `text` are written by its thread and read by the panel."""

    def __init__(self, number: int, label: str, kind: str, quiet: bool, survives_load: bool) -> None:
        self.number = number
        self.label = label
        self.kind = kind
        self.quiet = quiet  # not listed in the panel
        self.survives_load = survives_load  # continues when another file is opened
        self.state: State = "running"
        self.fraction = 0.0
        self.text = ""
        self.figures: dict[str, float] = {}  # of a fit or training: see JobEvent
        self.result: Any = None
        self.error: errors.LatheError | None = None
        self.started = time.monotonic()
        self.seconds = 0.0
        self._cancelled = threading.Event()
        self._remote: tuple[Client, str] | None = None
        self._on_cancel: Callable[[], None] | None = None

    @property
    def ended(self) -> bool:
        """Return whether the job is done, failed or cancelled."""
        return self.state in ENDED

    @property
    def cancelling(self) -> bool:
        """Return whether the job was cancelled but has not ended yet."""
        return self._cancelled.is_set() and not self.ended

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end: the backend's own figure, else by the mean speed; None in the beginning."""
        if "seconds_left" in self.figures:
            return self.figures["seconds_left"]
        passed = time.monotonic() - self.started
        slow = passed > ESTIMATE_SECONDS and ESTIMATE_FRACTION < self.fraction < 1
        return passed * (1 - self.fraction) / self.fraction if slow else None

    # ------------------------------------------------------------------------------------------ called by the thread

    def report(self, fraction: float, text: str = "") -> None:
        """Set the progress. Raises Cancelled if the job was cancelled."""
        self.check()
        self.fraction = min(max(fraction, 0.0), 1.0)
        self.text = text

    def check(self) -> None:
        """Raise Cancelled if the job was cancelled."""
        if self._cancelled.is_set():
            raise errors.Cancelled()

    def when_cancelled(self, action: Callable[[], None] | None) -> None:
        """Set a function that ends a blocking call of the thread, such as killing a child process."""
        self._on_cancel = action
        if action and self._cancelled.is_set():
            action()

    def ask(
        self,
        client: Client,
        request: Any,
        *,
        supersede: str = "",
        start: float = 0.0,
        end: float = 1.0,
        seen: Callable[[JobEvent], object] | None = None,
    ) -> Any:
        """Run a request on the backend and return its result; its progress is `start`..`end` of this job's.

        seen: called with each event before the result.
        """
        return self.collect(client, client.submit(request, supersede=supersede), start=start, end=end, seen=seen)

    def collect(
        self,
        client: Client,
        remote: str,
        *,
        start: float = 0.0,
        end: float = 1.0,
        seen: Callable[[JobEvent], object] | None = None,
    ) -> Any:
        """Wait for a submitted request and return its result."""

        def on_event(event: JobEvent) -> None:
            self.fraction = start + (end - start) * event.fraction
            self.text = event.text or {"queued": "Waiting for its turn"}.get(event.kind, "")
            self.figures = event.figures or self.figures
            if seen is not None:
                seen(event)

        self._remote = (client, remote)
        try:
            if self._cancelled.is_set():
                _cancel_remote(client, remote)
            return client.wait(remote, on_event)
        finally:
            self._remote = None

    # ------------------------------------------------------------------------------------------ called by the main one

    def cancel(self) -> None:
        """Cancel the job. Returns at once."""
        if self._cancelled.is_set() or self.ended:
            return
        self._cancelled.set()
        remote, action = self._remote, self._on_cancel
        if remote:
            _thread.start_new_thread(_cancel_remote, remote)
        if action:
            _thread.start_new_thread(action, ())


def _cancel_remote(client: Client, remote: str) -> None:
    try:
        client.cancel(remote)
    except errors.LatheError as error:
        log.info("cancelling %s: %s", remote, error.message)


@dataclass
class Hold:
    """Longest time that the main thread was blocked at once."""

    seconds: float = 0.0
    by: str = ""

    def note(self, seconds: float, by: str) -> None:
        """Keep the maximum."""
        if seconds > self.seconds:
            self.seconds, self.by = seconds, by


class Jobs:
    """All jobs of one Blender session."""

    LONG = ("set_up", "fit_shape", "fit", "sfm", "train")  # kinds that Esc does not cancel

    def __init__(self) -> None:
        self.all: list[Job] = []  # newest last; old ones that have ended are dropped
        self.failed: Job | None = None  # the last failure, until dismissed or a later job is done
        self.longest_hold = Hold()
        self.version = 0  # changes whenever the panel must be redrawn
        self._numbers = itertools.count(1)
        self._finished: queue.SimpleQueue[tuple[Job, Then | None]] = queue.SimpleQueue()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._stepping: list[tuple[Job, Steps, Callable[[Any], None]]] = []  # with a function called at their end

    def start(
        self,
        label: str,
        work: Work,
        then: Then | None = None,
        *,
        kind: str,
        quiet: bool = False,
        survives_load: bool = False,
        prepare: Steps | None = None,
    ) -> Job:
        """Start `work` on a thread; `then` gets its result on the main thread.

        prepare: steps on the main thread before `work`.
        """
        job = Job(next(self._numbers), label, kind, quiet, survives_load)
        self.all.append(job)
        self._forget_old()
        self.version += 1

        def begin(_: Any = None) -> None:
            job.state = "running"
            # Thread.start would wait for the new thread to run, which takes long on a busy machine.
            _thread.start_new_thread(self._run, (job, work, then))

        if prepare is None:
            begin()
        else:
            job.state = "preparing"
            self._stepping.append((job, prepare, begin))
        return job

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the main thread; may be called from any thread."""
        self._calls.put(function)

    def _run(self, job: Job, work: Work, then: Then | None) -> None:
        try:
            job.check()
            job.result = work(job)
        except errors.LatheError as error:
            job.error = error
        except Exception as error:
            log.exception("%s", job.label)
            job.error = errors.InternalError(
                f"{job.label} failed: {type(error).__name__}: {error}", remedy=errors.Remedy("open_log", "Open Log")
            )
        self._finished.put((job, then))

    @property
    def active(self) -> list[Job]:
        """Jobs that have not ended and are listed in the panel."""
        return [job for job in self.all if not job.ended and not job.quiet]

    @property
    def busy(self) -> bool:
        """Return whether any job, listed or not, has not ended."""
        return any(not job.ended for job in self.all)

    def find(self, kind: str) -> Job | None:
        """Return the newest unfinished job of a kind."""
        return next((job for job in reversed(self.all) if job.kind == kind and not job.ended), None)

    def by_number(self, number: int) -> Job | None:
        """Return a job by its number."""
        return next((job for job in self.all if job.number == number), None)

    def cancel_all(self, *, loading: bool = False, keep: tuple[str, ...] = ()) -> int:
        """Cancel every listed job and return their number.

        loading: another file is opened: cancel all jobs, quiet ones too, except those that survive it. keep: kinds
        that are not cancelled.
        """
        chosen = [
            job
            for job in self.all
            if not job.ended and job.kind not in keep and not (job.survives_load if loading else job.quiet)
        ]
        for job in chosen:
            job.cancel()
        if loading:
            for entry in [entry for entry in self._stepping if entry[0] in chosen]:
                self._stepping.remove(entry)
                entry[1].close()
                self._end(entry[0], errors.Cancelled())
        self.version += 1
        return len(chosen)

    def dismiss(self) -> None:
        """Clear the last failure."""
        self.failed = None
        self.version += 1

    def pump(self, budget: float = TICK_BUDGET_SECONDS) -> bool:
        """Do pending work on the main thread for about `budget` seconds. Returns whether there was any."""
        start, did = time.perf_counter(), False
        while True:
            begun = time.perf_counter()
            what = self._step()
            now = time.perf_counter()
            if not what:
                return did
            did = True
            self.version += 1
            self.longest_hold.note(now - begun, what)
            if what == LATER or now - start > budget:
                return did

    def _step(self) -> str:
        """Do one unit of work and return its description; empty if there was none."""
        try:
            self._calls.get_nowait()()
            return "call"
        except queue.Empty:
            pass
        try:
            job, then = self._finished.get_nowait()
        except queue.Empty:
            return self._take_step() if self._stepping else ""
        if job.error is None and job.cancelling:
            job.error = errors.Cancelled()
        if job.error is not None or then is None:
            self._end(job, job.error)
        else:
            job.state = "applying"
            with self._ending(job):
                answer = then(job.result)
                if isinstance(answer, Generator):
                    self._stepping.append((job, answer, lambda result: self._done(job, result)))
                else:
                    self._done(job, answer)
        return job.kind

    def _take_step(self) -> str:
        """Run one step of the job that waited longest."""
        job, steps, after = self._stepping.pop(0)
        if job.cancelling:
            with self._ending(job):
                steps.close()
            self._end(job, errors.Cancelled())
            return job.kind
        with self._ending(job):
            try:
                said = next(steps)
            except StopIteration as stop:
                after(stop.value)
                return job.kind
            self._stepping.append((job, steps, after))
            return LATER if said == LATER else f"{job.kind} ({job.state})"
        return job.kind

    def _done(self, job: Job, result: Any) -> None:
        job.result = result
        self._end(job, None)

    @contextlib.contextmanager
    def _ending(self, job: Job) -> Iterator[None]:
        """End the job with any error raised inside."""
        try:
            yield
        except errors.LatheError as error:
            self._end(job, error)
        except Exception as error:
            log.exception("%s", job.label)
            self._end(job, errors.InternalError(f"{job.label} failed: {type(error).__name__}: {error}"))

    def _end(self, job: Job, error: errors.LatheError | None) -> None:
        job.error = error
        if error is not None:
            job.result = None
        job.seconds = time.monotonic() - job.started
        if error is None:
            job.state, job.fraction = "done", 1.0
            stale = self.failed
            if stale is not None and not job.quiet and job.started >= stale.started + stale.seconds:
                self.failed = None
        elif isinstance(error, errors.Cancelled):
            job.state = "cancelled"
        else:
            job.state = "failed"
            self.failed = job
            log.warning("%s: %s", job.label, error.message)
        self.version += 1

    def _forget_old(self) -> None:
        ended = [job for job in self.all if job.ended]
        for job in ended[: max(0, len(ended) - KEPT_JOBS)]:
            self.all.remove(job)

    def wait_for(self, job: Job, timeout: float | None = None) -> Any:
        """Pump until `job` has ended and return its result, for scripts and background Blender.

        Raises:
            TimeoutError: it has not ended in `timeout` seconds; it continues.
            LatheError: of the job; Cancelled if it was cancelled.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not job.ended:
            if not self.pump():
                time.sleep(0.002)
            if deadline is not None and time.monotonic() > deadline and not job.ended:
                raise TimeoutError(f"{job.label} has not ended after {timeout:g} s: {job.text}")
        if job.error is not None:
            raise job.error
        return job.result
