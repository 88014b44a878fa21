"""Puts everything into Blender and takes it out again: classes, timer, handlers, keys, translations."""

from __future__ import annotations

import logging
import time
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import (
    actions,
    apply,
    field_objects,
    latent_operators,
    live,
    operators,
    panels,
    picture_operators,
    preferences,
    properties,
    thumbnails,
    translations,
)
from .session import session

log = logging.getLogger(__name__)

BUSY_SECONDS = 0.02
IDLE_SECONDS = 0.2

_keys: list[tuple[Any, Any]] = []
_drawn = -1


def tick() -> float:
    """The one timer: takes what the threads brought, follows the view, has the panel drawn when something changed.

    Never raises: Blender drops a timer that does, and every job would stand still.
    """
    begun, interval = time.perf_counter(), IDLE_SECONDS
    try:
        _tick()
        if session.jobs.busy or live.wanted(bpy.context) or live.level_wanted(bpy.context):
            interval = BUSY_SECONDS
    except Exception:
        log.exception("the timer goes on")
    session.jobs.longest_hold.note(time.perf_counter() - begun, "tick")
    return interval


def _tick() -> None:
    global _drawn
    session.jobs.pump()
    live.tick()
    if session.jobs.version != _drawn:
        _drawn = session.jobs.version
        apply.redraw()
    elif session.jobs.busy:
        apply.redraw()  # the bars move


@persistent
def before_load(*_: Any) -> None:
    """Another file is opened: what belongs to this one ends; Set Up, fits and the backend go on."""
    session.jobs.cancel_all(loading=True)
    live.forget()


@persistent
def after_load(*_: Any) -> None:
    """A file was opened: it may know models that need a look, and settings of another version."""
    actions.configure(bpy.context)
    actions.models_known()
    session.jobs.version += 1


@persistent
def after_undo(*_: Any) -> None:
    """Undo may have changed what the live preview shows."""
    live.forget()


HANDLERS = (
    (bpy.app.handlers.load_pre, before_load),
    (bpy.app.handlers.load_post, after_load),
    (bpy.app.handlers.undo_post, after_undo),
    (bpy.app.handlers.redo_post, after_undo),
)
MODULES = (preferences, properties, thumbnails, operators, latent_operators, picture_operators, panels, field_objects)


def register() -> None:
    """Add everything to Blender."""
    for module in MODULES:
        module.register()
    actions.configure(bpy.context)
    bpy.app.translations.register(preferences.PACKAGE, translations.TABLE)
    for handlers, function in HANDLERS:
        handlers.append(function)
    bpy.app.timers.register(tick, first_interval=0.1, persistent=True)
    keys = bpy.context.window_manager.keyconfigs.addon if bpy.context.window_manager else None
    if keys:  # there are none in background
        keymap = keys.keymaps.new("Window", space_type="EMPTY")
        _keys.append((keymap, keymap.keymap_items.new("lathe.cancel_all", "ESC", "PRESS")))


def unregister() -> None:
    """Take everything out of Blender again, ending the backend and all jobs."""
    session.close()
    for keymap, item in _keys:
        keymap.keymap_items.remove(item)
    _keys.clear()
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
    for handlers, function in HANDLERS:
        if function in handlers:
            handlers.remove(function)
    bpy.app.translations.unregister(preferences.PACKAGE)
    for module in reversed(MODULES):
        module.unregister()
