"""The preview sheets that a running job sends."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ..wire import errors
from ..wire.messages import JobEvent, SheetResult
from .client import Client


def sheets_of(client: Client, show: Callable[[SheetResult], None]) -> Callable[[JobEvent], bool]:
    """Return a callback for the events of a job: it passes each new preview sheet to `show`, and returns whether the
    event brought one. Both run in the job's thread."""
    shown = ""

    def seen(event: JobEvent) -> bool:
        nonlocal shown
        if not event.preview or event.preview == shown:
            return False
        shown = event.preview
        with contextlib.suppress(errors.BlobMissing):  # superseded by a newer one
            sheet = client.blob(event.preview)
            if isinstance(sheet, SheetResult):
                show(sheet)
        return True

    return seen
