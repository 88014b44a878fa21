"""Operators, jobs and images of the child's Blender. The worker sets `bpy` and `lathe`, as in the test modules."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

bpy: Any = None
lathe: Any = None


def run(operator: str, **arguments: Any) -> None:
    """Call an operator ("lathe.fit") that starts a job, without waiting for it."""
    group, name = operator.split(".")
    assert getattr(getattr(bpy.ops, group), name)(**arguments) == {"FINISHED"}


def settle(timeout: float = 30.0) -> None:
    """Pump until no job is left, as the timer would."""
    jobs = lathe.link.session.session.jobs
    until(lambda: not jobs.busy, timeout)


def until(condition: Callable[[], Any], timeout: float = 20.0) -> None:
    """Pump until a condition holds."""
    jobs, deadline = lathe.link.session.session.jobs, time.monotonic() + timeout
    while not condition():
        if not jobs.pump():
            time.sleep(0.002)
        assert time.monotonic() < deadline, [job.label for job in jobs.all if not job.ended]


def press(operator: str, timeout: float = 120.0, **arguments: Any) -> Any:
    """Call an operator, wait for its job and return the job."""
    run(operator, **arguments)
    settle(timeout)
    return lathe.link.session.session.jobs.all[-1]


def done(operator: str, timeout: float = 400.0, **arguments: Any) -> Any:
    """Call an operator, wait for its job, which must succeed, and return the job's result."""
    job = press(operator, timeout, **arguments)
    assert job.error is None, job.error
    return job.result


def refusal(operator: str, **arguments: Any) -> str:
    """Call an operator that cannot run now, and return Blender's message."""
    try:
        run(operator, **arguments)
    except RuntimeError as error:
        return str(error)
    raise AssertionError(f"{operator} was not refused")


def pixels(name: str) -> np.ndarray:
    """Return an image datablock as float32 [H, W, 4], top row first."""
    image = bpy.data.images[name]
    flat = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(flat)
    return lathe.scene.frames.image_from_pixels(flat, *image.size)
