"""Live updates: the preview follows the view, the sliders and a running fit; a mesh follows its level.

While something changes, drafts are rendered; when nothing has changed for a moment, the full quality follows. A newer
request supersedes an older one on the backend. Nothing here blocks.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import bpy

from ..link.session import session
from ..scene.gather import mesh_request, seen_by_preview, subject
from ..shape.actions import generate_mesh, mesh_of_field, problem_mesh
from ..wire.errors import LatheError
from ..wire.messages import IDENTITY4
from . import actions

SETTLED_SECONDS = 0.35  # without a change until the full quality is rendered
FIT_SECONDS = 1.5  # between two previews of a field that is being fitted

_seen: Any = None  # the newest request
_changed = 0.0  # time of its last change
_pending = False  # whether the full quality of it is still to be rendered
_asked = 0.0  # time of the last request
_level_seen: Any = None  # the newest request of the live level
_level_changed = 0.0
_level_pending = False


def forget() -> None:
    """Forget what was rendered, so that the next tick renders again."""
    global _seen, _pending
    _seen, _pending = None, False


def wanted(context: Any) -> bool:
    """Return whether the live preview is on and possible."""
    return bool(
        context.scene is not None
        and context.scene.lathe.preview.live
        and session.state == "ready"
        and not actions.problem_preview(context)
    )


def tick(context: Any | None = None) -> None:
    """Render the preview, and the mesh, if something has changed. Takes well under a millisecond."""
    global _seen, _changed, _pending, _asked
    context = context or bpy.context
    _tick_level(context)
    if not wanted(context):
        return
    now = time.monotonic()
    try:
        chosen = subject(context)
        preview = context.scene.lathe.preview
        seen = *seen_by_preview(context, chosen, preview.size), preview.show
        fitting = chosen.settings.model == session.fitting and session.jobs.find("fit") is not None
        if seen != _seen:
            _seen, _changed, _pending = seen, now, True
            if session.jobs.find("preview") is None:
                actions.preview(context, draft=True, quiet=True)
                _asked = now
        elif session.jobs.find("preview") is not None:
            return
        elif fitting and now - _asked > FIT_SECONDS:
            _pending, _asked = True, now
            actions.preview(context, draft=True, quiet=True)
        elif _pending and not fitting and now - _changed > SETTLED_SECONDS:
            _pending = False
            actions.preview(context, quiet=True)
    except LatheError:
        forget()  # a view that cannot be rendered now; the operator explains why


def level_wanted(context: Any) -> bool:
    """Return whether the subject's mesh follows its level."""
    if context.scene is None or session.state != "ready":
        return False
    chosen = subject(context)
    return bool(chosen.object is not None and chosen.settings.mesh.live and not problem_mesh(context))


def _tick_level(context: Any) -> None:
    """Mesh the subject again if its level, or anything else its surface depends on, has changed."""
    global _level_seen, _level_changed, _level_pending
    if not level_wanted(context) or context.mode != "OBJECT" or session.jobs.find("mesh"):
        return
    now = time.monotonic()
    try:
        chosen = subject(context)
        request = mesh_request(chosen)
        seen = chosen.object.name, replace(request, scene=replace(request.scene, world_from_scene=IDENTITY4))
        if seen != _level_seen:
            first = _level_seen is None or _level_seen[0] != seen[0]
            _level_seen, _level_changed = seen, now
            _level_pending = not first or mesh_of_field(chosen.object) is None
            if not first:
                generate_mesh(context, draft=True, quiet=True)
        elif _level_pending and now - _level_changed > SETTLED_SECONDS:
            _level_pending = False
            generate_mesh(context, quiet=True)
    except LatheError:
        _level_seen = None
