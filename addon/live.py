"""The live preview: follows the view and the sliders without ever holding anything up.

While something moves, a draft answers; when it has stood still for a moment, the full picture follows. A new request
takes the place of the one before it on the backend, so the newest always wins.
"""

from __future__ import annotations

import time
from typing import Any

import bpy

from . import actions
from .gather import preview_camera, scene_ref, subject
from .session import session
from .wire.errors import LatheError

SETTLED_SECONDS = 0.35

_seen: Any = None  # what the newest request showed
_changed = 0.0  # when that changed last
_pending = False  # whether the full picture of it is still to come


def forget() -> None:
    """Start afresh: the next tick renders whatever is seen."""
    global _seen, _pending
    _seen, _pending = None, False


def wanted(context: Any) -> bool:
    """Whether the live preview is on and can be."""
    return bool(
        context.scene is not None
        and context.scene.lathe.preview.live
        and session.state == "ready"
        and not actions.problem_preview(context)
    )


def tick(context: Any | None = None) -> None:
    """Look whether something changed, and ask for a picture of it. Takes well under a millisecond."""
    global _seen, _changed, _pending
    context = context or bpy.context
    if not wanted(context):
        return
    now = time.monotonic()
    try:
        chosen = subject(context)
        preview = context.scene.lathe.preview
        seen = scene_ref(chosen), preview_camera(context, chosen, preview.size), preview.show
        if seen != _seen:
            _seen, _changed, _pending = seen, now, True
            if session.jobs.find("preview") is None:
                actions.preview(context, draft=True, quiet=True)
        elif _pending and now - _changed > SETTLED_SECONDS and session.jobs.find("preview") is None:
            _pending = False
            actions.preview(context, quiet=True)
    except LatheError:
        forget()  # a view that cannot be rendered now; the button says why
