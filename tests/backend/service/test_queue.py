"""The job queue without HTTP: order, one end, supersede, restart, memory."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addon.wire import payload
from addon.wire.errors import (
    BackendUnavailable,
    Cancelled,
    CannotWrite,
    InternalError,
    NoSurface,
    ResultGone,
    UnknownJob,
)
from addon.wire.messages import TERMINAL_KINDS, GenerateRequest, JobEvent, Latent, Request, SheetResult
from backend.progress import Progress
from backend.service import queue as queue_module
from backend.service.journal import JobJournal
from backend.service.queue import JobQueue

REQUEST = GenerateRequest("shapes", (Latent(),))
RESULT = SheetResult(np.zeros((1, 2, 2, 4), np.uint8))
Run = Callable[[str, Request, Progress], Any]


@contextmanager
def queue(folder: Path, run: Run, **options: Any) -> Iterator[JobQueue]:
    found = JobQueue(run, JobJournal(folder), **options)
    try:
        yield found
    finally:
        assert found.close(5.0)


def quick(task: str, request: Request, progress: Progress) -> SheetResult:
    return RESULT


def endless(task: str, request: Request, progress: Progress) -> SheetResult:
    while True:
        progress(0.5, "working")
        time.sleep(0.001)


def wait_end(jobs: JobQueue, job: str, seconds: float = 10.0) -> JobEvent:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        events = jobs.events_after(0, job)
        if events and events[-1].kind in TERMINAL_KINDS:
            return events[-1]
        time.sleep(0.002)
    raise AssertionError(f"job {job} did not end: {jobs.status(job)}")


def wait_started(jobs: JobQueue, job: str) -> None:
    end = time.monotonic() + 10
    while jobs.status(job).kind == "queued":
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_job_is_queued_then_started_then_done_and_its_result_is_what_the_task_made(tmp_path: Path) -> None:
    with queue(tmp_path, quick) as jobs:
        job = jobs.submit("generate", REQUEST)
        assert wait_end(jobs, job).kind == "done"
        events = jobs.events_after(0, job)
        assert [event.kind for event in events] == ["queued", "started", "done"]
        assert jobs.events_after(0) == events
        assert jobs.events_after(events[-1].sequence) == []
        parts = jobs.result(job)
        assert parts is not None
        np.testing.assert_array_equal(payload.unpack(b"".join(parts)).images, RESULT.images)


def test_jobs_run_one_at_a_time_in_order_of_submission(tmp_path: Path) -> None:
    order: list[int] = []
    running = threading.Semaphore(1)

    def run(task: str, request: Any, progress: Progress) -> SheetResult:
        assert running.acquire(blocking=False)
        order.append(request.latents[0].seed_a)
        time.sleep(0.002)
        running.release()
        return RESULT

    with queue(tmp_path, run) as jobs:
        submitted = [jobs.submit("generate", GenerateRequest("m", (Latent(seed_a=n),))) for n in range(20)]
        assert {wait_end(jobs, job).kind for job in submitted} == {"done"}
    assert order == list(range(20))


def test_cancel_ends_a_waiting_job_at_once_and_a_running_one_at_its_next_report(tmp_path: Path) -> None:
    with queue(tmp_path, endless) as jobs:
        running, waiting = jobs.submit("generate", REQUEST), jobs.submit("generate", REQUEST)
        wait_started(jobs, running)
        assert jobs.cancel(waiting).kind == "cancelled"
        assert [e.kind for e in jobs.events_after(0, waiting)] == ["queued", "cancelled"]
        jobs.cancel(running)
        assert wait_end(jobs, running).kind == "cancelled"
        with pytest.raises(Cancelled):
            jobs.result(running)


def test_cancel_is_idempotent_and_changes_nothing_after_the_end(tmp_path: Path) -> None:
    with queue(tmp_path, quick) as jobs:
        job = jobs.submit("generate", REQUEST)
        wait_end(jobs, job)
        before = jobs.events_after(0, job)
        for _ in range(3):
            assert jobs.cancel(job).kind == "done"
        assert jobs.events_after(0, job) == before
        with pytest.raises(UnknownJob):
            jobs.cancel("0" * 32)


def test_after_a_cancel_is_answered_a_job_never_becomes_done(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def run(task: str, request: Request, progress: Progress) -> SheetResult:
        begun.set()
        go_on.wait(5)
        return RESULT  # never looked whether it should stop

    with queue(tmp_path, run) as jobs:
        job = jobs.submit("generate", REQUEST)
        begun.wait(5)
        jobs.cancel(job)
        go_on.set()
        assert wait_end(jobs, job).kind == "cancelled"


def test_supersede_ends_older_jobs_of_the_same_key_only(tmp_path: Path) -> None:
    release = threading.Event()

    def run(task: str, request: Request, progress: Progress) -> SheetResult:
        while not release.is_set():
            progress(0.1)
            time.sleep(0.001)
        return RESULT

    with queue(tmp_path, run) as jobs:
        first = jobs.submit("generate", REQUEST, supersede="viewport")
        wait_started(jobs, first)
        other = jobs.submit("generate", REQUEST, supersede="sheet")
        plain = jobs.submit("generate", REQUEST)
        second = jobs.submit("generate", REQUEST, supersede="viewport")
        third = jobs.submit("generate", REQUEST, supersede="viewport")
        release.set()
        ends = [wait_end(jobs, job).kind for job in (first, second, third, other, plain)]
        assert ends == ["superseded", "superseded", "done", "done", "done"]


@pytest.mark.parametrize(
    ("raised", "code"),
    [(NoSurface("nothing there"), "no_surface"), (ZeroDivisionError("oops"), "internal"), (SystemExit(3), "internal")],
)
def test_whatever_a_task_raises_becomes_one_failed_event_and_the_next_job_runs(
    tmp_path: Path, raised: BaseException, code: str
) -> None:
    calls = iter((raised, None))

    def run(task: str, request: Request, progress: Progress) -> SheetResult:
        if (error := next(calls)) is not None:
            raise error
        return RESULT

    with queue(tmp_path, run) as jobs:
        first, second = jobs.submit("generate", REQUEST), jobs.submit("generate", REQUEST)
        end = wait_end(jobs, first)
        assert end.kind == "failed" and end.error is not None and end.error.code == code
        assert wait_end(jobs, second).kind == "done"
        with pytest.raises(NoSurface if code == "no_surface" else InternalError):
            jobs.result(first)


def test_progress_keeps_the_newest_event_only_and_its_preview(tmp_path: Path) -> None:
    stored: list[bytes] = []
    shown, go_on = threading.Event(), threading.Event()

    def run(task: str, request: Request, progress: Progress) -> SheetResult:
        progress(0.1, "first", np.zeros((4, 4, 4), np.uint8))
        for step in range(2000):
            progress(step / 2000, "second")
        time.sleep(0.06)
        progress(0.9, "last")
        shown.set()
        go_on.wait(5)
        return RESULT

    def put(data: bytes) -> str:
        stored.append(data)
        return "ab" * 32

    with queue(tmp_path, run, put_blob=put) as jobs:
        job = jobs.submit("generate", REQUEST)
        shown.wait(5)
        events = jobs.events_after(0, job)
        assert [event.kind for event in events] == ["queued", "started", "progress"]
        assert (events[-1].fraction, events[-1].text, events[-1].preview) == (0.9, "last", "ab" * 32)
        go_on.set()
        assert wait_end(jobs, job).kind == "done"
    assert payload.unpack(stored[0]).images.shape == (1, 4, 4, 4)


def test_results_are_bounded_and_the_newest_is_kept_whatever_its_size(tmp_path: Path) -> None:
    large = SheetResult(np.zeros((1, 64, 64, 4), np.uint8))
    with queue(tmp_path, lambda *_: large, max_result_bytes=40_000) as jobs:
        submitted = [jobs.submit("generate", REQUEST) for _ in range(5)]
        for job in submitted:
            wait_end(jobs, job)
        for job in submitted[:-2]:
            with pytest.raises(ResultGone):
                jobs.result(job)
        assert jobs.result(submitted[-1]) is not None
    with queue(tmp_path, lambda *_: large, max_result_bytes=10) as jobs:
        job = jobs.submit("generate", REQUEST)
        wait_end(jobs, job)
        assert jobs.result(job) is not None


def test_old_jobs_are_forgotten_in_memory_and_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MAX_ENDED_JOBS", 10)
    with queue(tmp_path, quick) as jobs:
        submitted = [jobs.submit("generate", REQUEST) for _ in range(25)]
        wait_end(jobs, submitted[-1])
        assert [status.job for status in jobs.all()] == submitted[:-11:-1]
        assert len(jobs.events_after(0)) == 30
    with sqlite3.connect(tmp_path / "jobs-1.sqlite") as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (10,)
    database.close()


def test_jobs_unfinished_when_the_process_died_are_reported_interrupted_by_the_next(tmp_path: Path) -> None:
    """The death itself is tested over a real process in test_faults; here the journal is closed under the queue."""
    jobs = JobQueue(endless, JobJournal(tmp_path))
    running, waiting = jobs.submit("generate", REQUEST), jobs.submit("generate", REQUEST)
    wait_started(jobs, running)
    last = jobs.events_after(0)[-1].sequence
    jobs._journal.close()
    with queue(tmp_path, quick) as again:
        events = again.events_after(last)
        assert {(e.job, e.kind, e.error.code if e.error else "") for e in events} == {
            (running, "failed", "backend_died"),
            (waiting, "failed", "backend_died"),
        }
        assert "interrupted" in (events[0].error.message if events[0].error else "")
        done = again.submit("generate", REQUEST)
        assert wait_end(again, done).sequence > events[-1].sequence
    with queue(tmp_path, quick) as third:
        assert [e.kind for e in third.events_after(0)] == ["failed", "failed", "done"]
        with pytest.raises(ResultGone):
            third.result(done)
    jobs.close()


def test_two_backends_on_one_folder_keep_apart(tmp_path: Path) -> None:
    with queue(tmp_path, endless) as first:
        job = first.submit("generate", REQUEST)
        with queue(tmp_path, quick) as second:
            assert second.all() == []
        assert first.status(job).kind != "failed"
    assert sorted(path.name for path in tmp_path.glob("*.sqlite")) == ["jobs-1.sqlite", "jobs-2.sqlite"]


def test_a_list_of_jobs_with_damaged_inner_pages_is_set_aside(tmp_path: Path) -> None:
    journal = JobJournal(tmp_path)
    journal._write(
        "INSERT INTO jobs (id, task, request, submitted_at) SELECT value, 'render', ?, 0 FROM json_each(?)",
        "{}" + " " * 500, json.dumps(list(range(200))),
    )  # fmt: skip
    journal.close()
    data = bytearray((tmp_path / "jobs-1.sqlite").read_bytes())
    data[4096 * 2 :] = b"\xff" * (len(data) - 4096 * 2)  # the header and the schema stay
    (tmp_path / "jobs-1.sqlite").write_bytes(data)
    assert list(JobJournal(tmp_path).jobs()) == []
    assert (tmp_path / "jobs-1.damaged").is_file()


def test_a_damaged_list_of_jobs_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "jobs-1.sqlite").write_bytes(b"this is not a database" * 100)
    with queue(tmp_path, quick) as jobs:
        assert wait_end(jobs, jobs.submit("generate", REQUEST)).kind == "done"
    assert (tmp_path / "jobs-1.damaged").is_file()


def test_a_full_disk_refuses_the_submission_with_a_sentence_and_running_work_still_ends(tmp_path: Path) -> None:
    go_on = threading.Event()

    def run(task: str, request: Request, progress: Progress) -> SheetResult:
        go_on.wait(5)
        return RESULT

    with queue(tmp_path, run) as jobs:
        job = jobs.submit("generate", REQUEST)
        pages = jobs._journal._database.execute("PRAGMA page_count").fetchone()[0]
        jobs._journal._database.execute(f"PRAGMA max_page_count = {pages}")
        refused = 0
        for _ in range(200):
            try:
                jobs.submit("generate", REQUEST)
            except CannotWrite as error:
                assert "disk" in error.message
                refused += 1
        assert refused
        go_on.set()
        assert wait_end(jobs, job).kind == "done"


def test_closing_cancels_everything_and_refuses_more(tmp_path: Path) -> None:
    jobs = JobQueue(endless, JobJournal(tmp_path))
    submitted = [jobs.submit("generate", REQUEST) for _ in range(3)]
    assert jobs.close(5.0)
    assert {jobs.status(job).kind for job in submitted} == {"cancelled"}
    with pytest.raises(BackendUnavailable):
        jobs.submit("generate", REQUEST)


def test_memory_is_given_back_after_an_idle_while(tmp_path: Path) -> None:
    idle = threading.Event()
    with queue(tmp_path, quick, on_idle=idle.set, idle_seconds=0.05):
        assert idle.wait(5)


def test_exactly_one_terminal_event_and_it_is_the_last_under_every_interleaving(tmp_path: Path) -> None:
    """Many threads submit, supersede and cancel at random while a watcher follows all events as a client does."""
    dice = random.Random(7)

    def run(task: str, request: Request, progress: Progress) -> SheetResult:
        for step in range(dice.randrange(4)):
            progress(step / 4, str(step))
            time.sleep(dice.random() * 0.002)
        if dice.random() < 0.2:
            raise NoSurface("by chance")
        if dice.random() < 0.1:
            raise Cancelled
        return RESULT

    seen: dict[str, list[JobEvent]] = defaultdict(list)
    numbers: list[int] = []
    submitted: list[str] = []
    stop = threading.Event()
    woken = threading.Event()

    with queue(tmp_path, run) as jobs:
        jobs.listen(woken.set)

        def watch() -> None:
            last = 0
            while not stop.is_set() or jobs.events_after(last):
                woken.wait(0.05)
                woken.clear()
                for event in jobs.events_after(last):
                    last = event.sequence
                    numbers.append(last)
                    seen[event.job].append(event)

        def use(seed: int) -> None:
            mine = random.Random(seed)
            for _ in range(40):
                key = mine.choice([None, None, "a", "b"])
                job = jobs.submit("generate", REQUEST, supersede=key)
                submitted.append(job)
                time.sleep(mine.random() * 0.004)
                for _ in range(mine.randrange(3)):
                    jobs.cancel(mine.choice(submitted))

        watcher = threading.Thread(target=watch)
        users = [threading.Thread(target=use, args=(seed,)) for seed in range(6)]
        for thread in (watcher, *users):
            thread.start()
        for thread in users:
            thread.join()
        for job in submitted:
            wait_end(jobs, job)
        stop.set()
        watcher.join()
        kept = {job: jobs.events_after(0, job) for job in submitted}

    assert numbers == sorted(set(numbers))
    assert len(submitted) == 240
    for events in (*(seen[job] for job in submitted), *kept.values()):
        kinds = [event.kind for event in events]
        assert [kind in TERMINAL_KINDS for kind in kinds].count(True) == 1, kinds
        assert kinds[-1] in TERMINAL_KINDS, kinds
        assert kinds[0] == "queued", kinds
    ends = {events[-1].kind for events in kept.values()}
    assert ends == {"done", "failed", "cancelled", "superseded"}
