"""A submitted job: its request, state and end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from addon.wire import payload
from addon.wire.errors import LatheError, error_to_dict
from addon.wire.messages import TERMINAL_KINDS, ErrorInfo, JobStatus, Request

Kind = Literal["queued", "started", "progress", "done", "failed", "cancelled", "superseded"]


def error_info(error: LatheError) -> ErrorInfo:
    """Return an error as the message that carries it."""
    return payload.from_plain(ErrorInfo, error_to_dict(error))


@dataclass
class QueuedJob:
    """A request with its state. Everything but `stop` changes under the queue's lock only."""

    id: str
    task: str
    request: Request | None
    key: str | None
    submitted_at: float
    kind: Kind = "queued"
    fraction: float = 0.0
    text: str = ""
    error: LatheError | None = None
    stop: Literal["", "cancelled", "superseded"] = ""  # requested end; the running task gets it through its Progress
    figures: dict[str, float] = field(default_factory=dict)
    event_sequences: list[int] = field(default_factory=list)
    name: str = ""  # of the state that a resumable task saves; set for jobs of an earlier process

    @property
    def ended(self) -> bool:
        """True after the job's terminal event."""
        return self.kind in TERMINAL_KINDS

    def status(self) -> JobStatus:
        """Return the state as the message for the add-on."""
        error = None if self.error is None else error_info(self.error)
        return JobStatus(self.id, self.task, self.kind, self.fraction, self.text, self.submitted_at, error)
