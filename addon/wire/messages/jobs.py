"""Jobs: submission, events and status."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .service import ErrorInfo


@dataclass(frozen=True)
class Submitted:
    """Answer to a submission."""

    job: str


EVENT_KINDS = ("queued", "started", "progress", "done", "failed", "cancelled", "superseded")
TERMINAL_KINDS = ("done", "failed", "cancelled", "superseded")


@dataclass(frozen=True)
class JobEvent:
    """A change of a job's state. Each job has exactly one event of TERMINAL_KINDS, and it is the last."""

    sequence: int  # increases over all jobs; ask for events after the last one seen
    job: str
    kind: Literal["queued", "started", "progress", "done", "failed", "cancelled", "superseded"]
    fraction: float = 0.0  # 0..1
    text: str = ""
    preview: str = ""  # sha256 of a packed SheetResult, or empty; of a training: its sweep and its curves
    error: ErrorInfo | None = None
    figures: dict[str, float] = field(default_factory=dict)  # of a fit: step, loss, psnr (dB, held-out images),
    # train_psnr (dB, of the batch), rays_per_second, seconds (of fitting so far), seconds_left; of a training: step,
    # steps (in total), seconds, seconds_left, and its losses by name


@dataclass(frozen=True)
class JobStatus:
    """Current state of a job."""

    job: str
    task: str
    kind: Literal["queued", "started", "progress", "done", "failed", "cancelled", "superseded"]
    fraction: float
    text: str
    submitted_at: float  # seconds since the epoch
    error: ErrorInfo | None = None
