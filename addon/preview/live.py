"""What follows by itself, without ever holding anything up: the live preview the view, the sliders and a field that
is being fitted; the live level a field's mesh.

While something moves, a draft answers; when it has stood still for a moment, the full picture follows. A new request
takes the place of the one before it on the backend, so the newest always wins.
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

SETTLED_SECONDS = 0.35
SHARPENING_SECONDS = 1.5  # between two pictures of a field that is being fitted

_seen: Any = None  # what the newest request showed
_changed = 0.0  # when that changed last
_pending = False  # whether the full picture of it is still to come
_asked = 0.0  # when a picture was asked for last
_level_seen: Any = None  # what the newest mesh of the live level was made from
_level_changed = 0.0
_level_pending = False


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
        elif fitting and now - _asked > SHARPENING_SECONDS:
            _pending, _asked = True, now
            actions.preview(context, draft=True, quiet=True)
        elif _pending and not fitting and now - _changed > SETTLED_SECONDS:
            _pending = False
            actions.preview(context, quiet=True)
    except LatheError:
        forget()  # a view that cannot be rendered now; the button says why


def level_wanted(context: Any) -> bool:
    """Whether the subject's mesh follows its level."""
    if context.scene is None or session.state != "ready":
        return False
    chosen = subject(context)
    return bool(chosen.object is not None and chosen.settings.mesh.live and not problem_mesh(context))


def _tick_level(context: Any) -> None:
    """Mesh the subject again when its level or what else its surface is made from has changed."""
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
