"""Renders interleaved with a long job: order, fairness, and one end of every job."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from addon.wire.errors import BackendUnavailable, NoSurface
from addon.wire.messages import (
    IDENTITY4,
    TERMINAL_KINDS,
    Camera,
    FitRequest,
    GenerateRequest,
    Latent,
    RenderRequest,
    Request,
    SceneRef,
    SheetResult,
)
from backend.progress import Progress
from backend.service.journal import JobJournal
from backend.service.queue import JobQueue

from .test_queue import RESULT, queue, wait_end, wait_started

VIEW = RenderRequest(SceneRef("a"), Camera(IDENTITY4, ((9.0, 0.0, 4.0), (0.0, 9.0, 4.0), (0.0, 0.0, 1.0)), 8, 8))
LONG = GenerateRequest("a", (Latent(),))


class Studio:
    """A run whose long jobs report until they must end, and whose views take a moment."""

    def __init__(self, view_seconds: float = 0.0) -> None:
        self.release = threading.Event()
        self.view_seconds = view_seconds
        self.log: list[str] = []
        self.depth = 0

    def __call__(self, task: str, request: Request, progress: Progress) -> SheetResult:
        self.depth += 1
        self.log.append(f"{task} {self.depth}")
        try:
            if task == "render":
                end = time.monotonic() + self.view_seconds
                while time.monotonic() < end:
                    progress(0.5, "Rendering")
                    time.sleep(0.001)
                return RESULT
            while not self.release.is_set():
                progress(0.5, "working", figures={"loss": 0.1, "psnr": float("nan")})
                time.sleep(0.001)
            return RESULT
        finally:
            self.depth -= 1


def test_a_view_comes_back_while_a_long_job_runs_and_other_jobs_keep_waiting(tmp_path: Path) -> None:
    studio = Studio()
    with queue(tmp_path, studio) as jobs:
        long, next_long = jobs.submit("mesh", LONG), jobs.submit("mesh", LONG)
        wait_started(jobs, long)
        for _ in range(3):
            assert wait_end(jobs, jobs.submit("render", VIEW)).kind == "done"
        assert not jobs.status(long).error and jobs.status(long).kind == "progress"
        assert jobs.status(next_long).kind == "queued"
        studio.release.set()
        assert [wait_end(jobs, job).kind for job in (long, next_long)] == ["done", "done"]
    assert studio.log == ["mesh 1", "render 2", "render 2", "render 2", "mesh 1"]


def test_within_a_view_nothing_is_run(tmp_path: Path) -> None:
    studio = Studio(view_seconds=0.1)
    with queue(tmp_path, studio) as jobs:
        first = jobs.submit("render", VIEW)
        wait_started(jobs, first)
        second = jobs.submit("render", VIEW)
        assert [wait_end(jobs, job).kind for job in (first, second)] == ["done", "done"]
        long = jobs.submit("fit", LONG)
        wait_started(jobs, long)
        views = [jobs.submit("render", VIEW) for _ in range(3)]
        assert [wait_end(jobs, job).kind for job in views] == ["done"] * 3
        studio.release.set()
    assert studio.log == ["render 1", "render 1", "fit 1", "render 2", "render 2", "render 2"]


def test_a_view_within_a_job_is_superseded_and_cancelled_alone(tmp_path: Path) -> None:
    studio = Studio(view_seconds=5.0)
    with queue(tmp_path, studio) as jobs:
        long = jobs.submit("fit", LONG)
        wait_started(jobs, long)
        first = jobs.submit("render", VIEW, supersede="viewport")
        wait_started(jobs, first)
        started = time.monotonic()
        second = jobs.submit("render", VIEW, supersede="viewport")
        assert wait_end(jobs, first).kind == "superseded"
        wait_started(jobs, second)
        jobs.cancel(second)
        assert wait_end(jobs, second).kind == "cancelled"
        assert time.monotonic() - started < 4
        assert jobs.status(long).kind == "progress"
        studio.release.set()
        assert wait_end(jobs, long).kind == "done"


def test_a_job_that_is_cancelled_while_a_view_runs_within_it_ends_after_the_view(tmp_path: Path) -> None:
    studio = Studio(view_seconds=0.2)
    with queue(tmp_path, studio) as jobs:
        long = jobs.submit("fit", LONG)
        wait_started(jobs, long)
        view = jobs.submit("render", VIEW)
        wait_started(jobs, view)
        jobs.cancel(long)
        assert wait_end(jobs, view).kind == "done"
        assert wait_end(jobs, long).kind == "cancelled"
        assert [e.kind for e in jobs.events_after(0, long) if e.kind in TERMINAL_KINDS] == ["cancelled"]


@pytest.mark.parametrize("raised", [NoSurface("nothing"), ZeroDivisionError("oops"), SystemExit(3)])
def test_a_view_that_fails_does_not_end_the_job_around_it(tmp_path: Path, raised: BaseException) -> None:
    studio = Studio()

    def run(task: str, request: Request, progress: Progress) -> SheetResult:
        if task == "render":
            raise raised
        return studio(task, request, progress)

    with queue(tmp_path, run) as jobs:
        long = jobs.submit("fit", LONG)
        wait_started(jobs, long)
        assert wait_end(jobs, jobs.submit("render", VIEW)).kind == "failed"
        studio.release.set()
        assert wait_end(jobs, long).kind == "done"


def test_views_one_after_the_other_leave_the_job_around_them_half_of_the_time(tmp_path: Path) -> None:
    studio = Studio(view_seconds=0.03)
    with queue(tmp_path, studio) as jobs:
        long = jobs.submit("fit", LONG)
        wait_started(jobs, long)
        views = [jobs.submit("render", VIEW) for _ in range(10)]
        started = time.monotonic()
        for view in views:
            assert wait_end(jobs, view).kind == "done"
        assert time.monotonic() - started > 0.03 * 19
        studio.release.set()


def test_closing_ends_both_the_view_and_the_job_around_it(tmp_path: Path) -> None:
    studio = Studio(view_seconds=60)
    jobs = JobQueue(studio, JobJournal(tmp_path))
    long = jobs.submit("fit", LONG)
    wait_started(jobs, long)
    view = jobs.submit("render", VIEW)
    wait_started(jobs, view)
    assert jobs.close(5.0)
    assert [jobs.status(job).kind for job in (long, view)] == ["cancelled", "cancelled"]
    with pytest.raises(BackendUnavailable):
        jobs.submit("render", VIEW)


def test_figures_stand_in_the_events_from_then_on_and_only_finite_ones(tmp_path: Path) -> None:
    studio = Studio()
    with queue(tmp_path, studio) as jobs:
        job = jobs.submit("fit", LONG)
        end = time.monotonic() + 5
        while not jobs.events_after(0, job)[-1].figures and time.monotonic() < end:
            time.sleep(0.005)
        studio.release.set()
        assert wait_end(jobs, job).figures == {"loss": 0.1}


def test_an_interrupted_fit_says_how_it_goes_on(tmp_path: Path) -> None:
    jobs = JobQueue(Studio(), JobJournal(tmp_path))
    fit = jobs.submit("fit", FitRequest("chair", resume=True))
    wait_started(jobs, fit)
    jobs._journal.close()
    with queue(tmp_path, Studio()) as again:
        error = again.status(fit).error
        assert error is not None and error.code == "backend_died" and error.remedy is not None
        assert (error.remedy.action, error.remedy.value) == ("resume_fit", "chair")
    jobs.close()


def test_exactly_one_end_and_it_is_the_last_with_views_in_jobs_under_every_interleaving(tmp_path: Path) -> None:
    dice = random.Random(3)

    def run(task: str, request: Request, progress: Progress) -> SheetResult:
        for step in range(dice.randrange(6)):
            progress(step / 6, str(step), np.zeros((2, 2, 4), np.uint8) if step == 3 else None)
            time.sleep(dice.random() * 0.001)
        if dice.random() < 0.2:
            raise NoSurface("by chance")
        return RESULT

    submitted: list[str] = []
    with queue(tmp_path, run, put_blob=lambda data: "ab" * 32) as jobs:

        def use(seed: int) -> None:
            mine = random.Random(seed)
            for _ in range(40):
                task = mine.choice(["render", "render", "mesh"])
                request: Request = VIEW if task == "render" else LONG
                submitted.append(jobs.submit(task, request, supersede=mine.choice([None, "a", "b"])))
                time.sleep(mine.random() * 0.003)
                for _ in range(mine.randrange(3)):
                    jobs.cancel(mine.choice(submitted))

        users = [threading.Thread(target=use, args=(seed,)) for seed in range(5)]
        for thread in users:
            thread.start()
        for thread in users:
            thread.join()
        ends = set()
        for job in submitted:
            ends.add(wait_end(jobs, job).kind)
            kinds = [event.kind for event in jobs.events_after(0, job)]
            assert [kind in TERMINAL_KINDS for kind in kinds].count(True) == 1, kinds
            assert kinds[0] == "queued" and kinds[-1] in TERMINAL_KINDS, kinds
            if "progress" in kinds:
                assert kinds[1] == "started"
    assert ends == {"done", "failed", "cancelled", "superseded"}
