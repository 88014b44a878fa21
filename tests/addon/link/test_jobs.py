"""Threads and the main thread: order, budget, cancel, failure. No Blender, no sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from addon.link.jobs import LATER, Job, Jobs
from addon.wire import errors


def test_work_runs_on_a_thread_and_then_on_the_main_one() -> None:
    jobs, where = Jobs(), []

    def then(result: int) -> int:
        where.append(threading.current_thread())
        return result + 1

    job = jobs.start("Count", lambda job: where.append(threading.current_thread()) or 41, then, kind="test")
    assert jobs.wait_for(job, 5) == 42
    assert where[0] is not threading.main_thread() and where[1] is threading.main_thread()
    assert job.state == "done" and not jobs.busy


def test_nothing_reaches_the_main_thread_without_a_pump() -> None:
    jobs, done = Jobs(), []
    jobs.start("x", lambda job: 1, done.append, kind="test")
    time.sleep(0.05)
    assert done == []
    while not jobs.pump():
        time.sleep(0.001)
    assert done == [1]


def test_a_generator_is_resumed_in_steps_within_the_budget() -> None:
    jobs, steps = Jobs(), 0

    def then(_: Any) -> Iterator[Any]:
        nonlocal steps
        for _ in range(20):
            time.sleep(0.005)
            steps += 1
            yield
        return "put in"

    job = jobs.start("Big", lambda job: None, then, kind="test")
    most = 0
    while not job.ended:
        before = steps
        jobs.pump()
        most = max(most, steps - before)
        time.sleep(0.001)
    assert job.result == "put in"
    assert 1 <= most <= 2, "two steps of 5 ms are over the budget of 8 ms: the rest waits for the next tick"
    assert jobs.longest_hold.by.startswith("test")


def test_later_waits_for_the_next_tick() -> None:
    jobs, ticks = Jobs(), 0

    def then(_: Any) -> Iterator[Any]:
        while ticks < 3:
            yield LATER

    job = jobs.start("Wait", lambda job: None, then, kind="test")
    while not job.ended:
        jobs.pump()
        ticks += 1
        assert ticks < 10_000
    assert ticks >= 3


def test_prepare_runs_before_the_thread() -> None:
    jobs, order = Jobs(), []

    def prepare() -> Iterator[None]:
        for index in range(3):
            order.append(index)
            yield

    job = jobs.start("Path", lambda job: order.append("work"), kind="test", prepare=prepare())
    assert job.state == "preparing"
    jobs.wait_for(job, 5)
    assert order == [0, 1, 2, "work"]


def test_cancel_while_preparing_runs_its_clean_up_and_no_work() -> None:
    jobs, order = Jobs(), []

    def prepare() -> Iterator[None]:
        try:
            while True:
                yield
        finally:
            order.append("restored")

    job = jobs.start("Path", lambda job: order.append("work"), kind="test", prepare=prepare())
    jobs.pump()
    job.cancel()
    with pytest.raises(errors.Cancelled):
        jobs.wait_for(job, 5)
    assert order == ["restored"] and job.state == "cancelled"


def test_cancel_reaches_the_thread_at_its_next_report() -> None:
    jobs, applied = Jobs(), []

    def work(job: Job) -> None:
        while True:
            job.report(0.5, "busy")
            time.sleep(0.001)

    job = jobs.start("Endless", work, applied.append, kind="test")
    job.cancel()
    job.cancel()
    with pytest.raises(errors.Cancelled):
        jobs.wait_for(job, 5)
    assert applied == [] and jobs.failed is None


def test_cancel_while_applying_closes_the_steps() -> None:
    jobs, order = Jobs(), []

    def then(_: Any) -> Iterator[Any]:
        order.append("begun")
        try:
            while True:
                yield LATER
        finally:
            order.append("removed")

    job = jobs.start("Mesh", lambda job: None, then, kind="test")
    while job.state != "applying" or not order:
        jobs.pump()
    job.cancel()
    with pytest.raises(errors.Cancelled):
        jobs.wait_for(job, 5)
    assert order == ["begun", "removed"]


@pytest.mark.parametrize("where", ["work", "then", "step", "prepare"])
def test_a_failure_anywhere_ends_the_job_with_a_sentence(where: str) -> None:
    jobs = Jobs()

    def fail() -> None:
        raise ValueError("odd number")

    def steps() -> Iterator[None]:
        yield
        fail()

    work = (lambda job: fail()) if where == "work" else (lambda job: None)
    then = {"then": lambda _: fail(), "step": lambda _: steps()}.get(where)
    job = jobs.start("Risky", work, then, kind="test", prepare=steps() if where == "prepare" else None)
    with pytest.raises(errors.InternalError, match="Risky failed: ValueError: odd number"):
        jobs.wait_for(job, 5)
    assert jobs.failed is job
    jobs.dismiss()
    assert jobs.failed is None


def test_an_error_is_gone_with_the_next_success_but_not_with_one_that_began_before_it() -> None:
    jobs, going = Jobs(), threading.Event()

    def fail(job: Job) -> None:
        raise errors.LatheError("no")

    before = jobs.start("Before", lambda job: going.wait(5), kind="test")
    failed = jobs.start("Fails", fail, kind="test")
    with pytest.raises(errors.LatheError):
        jobs.wait_for(failed, 5)
    going.set()
    jobs.wait_for(before, 5)
    jobs.wait_for(jobs.start("Live", lambda job: None, kind="test", quiet=True), 5)
    assert jobs.failed is failed
    jobs.wait_for(jobs.start("Next", lambda job: None, kind="test"), 5)
    assert jobs.failed is None


def test_the_time_left_is_the_backends_or_by_the_mean_speed() -> None:
    job = Job(1, "Slow", "test", False, False)
    job.fraction = 0.5
    assert job.seconds_left is None, "too early"
    job.started -= 60
    assert job.seconds_left == pytest.approx(60, abs=1)
    job.figures = {"seconds_left": 7.0}
    assert job.seconds_left == 7


def test_an_error_of_the_tree_keeps_its_remedy() -> None:
    jobs = Jobs()

    def work(job: Job) -> None:
        raise errors.OutOfMemory("Too big", remedy=errors.Remedy("lower_resolution", "Use 128", 128.0))

    job = jobs.start("Mesh", work, kind="test")
    with pytest.raises(errors.OutOfMemory):
        jobs.wait_for(job, 5)
    assert jobs.failed is not None and jobs.failed.error is not None
    assert jobs.failed.error.remedy == errors.Remedy("lower_resolution", "Use 128", 128.0)


def test_opening_another_file_ends_what_belongs_to_this_one() -> None:
    jobs = Jobs()

    def work(job: Job) -> None:
        while True:
            job.check()
            time.sleep(0.001)

    mesh = jobs.start("Mesh", work, kind="mesh")
    preview = jobs.start("Preview", work, kind="preview", quiet=True)
    fit = jobs.start("Fit", work, kind="fit", survives_load=True)
    jobs.cancel_all(loading=True)
    for job in (mesh, preview):
        with pytest.raises(errors.Cancelled):
            jobs.wait_for(job, 5)
    assert not fit.ended
    assert jobs.active == [fit]
    fit.cancel()
    with pytest.raises(errors.Cancelled):
        jobs.wait_for(fit, 5)


def test_cancel_all_can_leave_long_work_alone() -> None:
    jobs = Jobs()

    def work(job: Job) -> None:
        while True:
            job.check()
            time.sleep(0.001)

    mesh, fit, set_up = (jobs.start(kind, work, kind=kind) for kind in ("mesh", "fit", "set_up"))
    assert jobs.cancel_all(keep=Jobs.LONG) == 1
    with pytest.raises(errors.Cancelled):
        jobs.wait_for(mesh, 5)
    assert jobs.active == [fit, set_up] and not fit.cancelling and not set_up.cancelling
    assert jobs.cancel_all() == 2
    for job in (fit, set_up):
        with pytest.raises(errors.Cancelled):
            jobs.wait_for(job, 5)


def test_wait_for_gives_up_but_the_job_goes_on() -> None:
    jobs, gate = Jobs(), threading.Event()
    job = jobs.start("Slow", lambda job: gate.wait(5), kind="test")
    with pytest.raises(TimeoutError):
        jobs.wait_for(job, 0.05)
    gate.set()
    assert jobs.wait_for(job, 5) is True


def test_ended_jobs_are_forgotten_after_a_while() -> None:
    jobs = Jobs()
    for _ in range(30):
        jobs.wait_for(jobs.start("x", lambda job: None, kind="test"), 5)
    assert len(jobs.all) < 12
