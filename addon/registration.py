"""Registration with Blender: classes, timer, handlers, keys, translations."""

from __future__ import annotations

import logging
import time
from typing import Any

import bpy
from bpy.app.handlers import persistent

from . import preferences, properties, translations
from .backend import operators as backend_operators
from .backend import panels as backend
from .field import objects
from .field import operators as field_operators
from .field import panels as field
from .image import operators as image_operators
from .image import panels as image
from .inversion import operators as inversion_operators
from .inversion import panels as inversion
from .link.session import session
from .models import operators as models_operators
from .models import panels as models
from .path import operators as path_operators
from .path import panels as path
from .preferences import configure
from .preview import live
from .preview import operators as preview_operators
from .preview import panels as preview
from .scene import apply, leftovers, thumbnails
from .scene.settings import models_known
from .shape import operators as shape_operators
from .shape import panels as shape
from .training import operators as training_operators
from .training import panels as training
from .training_set import operators as training_set_operators
from .training_set import panels as training_set
from .ui import jobs, next_step

log = logging.getLogger(__name__)

BUSY_SECONDS = 0.02
IDLE_SECONDS = 0.2

_keys: list[tuple[Any, Any]] = []
_drawn = -1


def tick() -> float:
    """Timer: run the main-thread work of jobs, update the live preview, redraw the panels after changes.

    Never raises: Blender removes a timer that does, and no job could finish.
    """
    begun, interval = time.perf_counter(), IDLE_SECONDS
    try:
        _tick()
        if session.jobs.busy or live.wanted(bpy.context) or live.level_wanted(bpy.context):
            interval = BUSY_SECONDS
    except Exception:
        log.exception("the timer continues")
    session.jobs.longest_hold.note(time.perf_counter() - begun, "tick")
    return interval


def _tick() -> None:
    global _drawn
    session.jobs.pump()
    live.tick()
    if not session.jobs.busy:
        leftovers.look()
    if session.jobs.version != _drawn:
        _drawn = session.jobs.version
        apply.redraw()
    elif session.jobs.busy:
        apply.redraw()  # progress bars


@persistent
def before_load(*_: Any) -> None:
    """Cancel the jobs of the current file before another is opened. Set Up, fits and the backend continue."""
    session.jobs.cancel_all(loading=True)
    live.forget()


@persistent
def after_load(*_: Any) -> None:
    """Configure the session and choose models for the scenes of a file that was opened."""
    configure(bpy.context)
    models_known()
    session.jobs.version += 1


@persistent
def after_undo(*_: Any) -> None:
    """Update the live preview after undo and redo."""
    live.forget()


HANDLERS = (
    (bpy.app.handlers.load_pre, before_load),
    (bpy.app.handlers.load_post, after_load),
    (bpy.app.handlers.undo_post, after_undo),
    (bpy.app.handlers.redo_post, after_undo),
)
OPERATORS = (
    *jobs.OPERATORS,
    *backend_operators.CLASSES,
    *models_operators.CLASSES,
    *shape_operators.CLASSES,
    *preview_operators.CLASSES,
    *path_operators.CLASSES,
    *field_operators.CLASSES,
    *image_operators.CLASSES,
    *inversion_operators.CLASSES,
    *training_set_operators.CLASSES,
    *training_operators.CLASSES,
)
LISTS = (
    models.LATHE_MT_model, shape.LATHE_UL_history, training.LATHE_MT_trainable, training.LATHE_MT_training_preset,
)  # fmt: skip
PANELS: tuple[Any, ...] = (
    next_step.LATHE_PT_next_step,
    jobs.LATHE_PT_jobs,
    backend.LATHE_PT_backend,
    backend.LATHE_PT_set_up,
    backend.LATHE_PT_findings,
    models.LATHE_PT_model,
    models.LATHE_PT_licence,
    field.LATHE_PT_crop,
    shape.LATHE_PT_latent,
    shape.LATHE_PT_style_mix,
    shape.LATHE_PT_condition,
    shape.LATHE_PT_variants,
    shape.LATHE_PT_history,
    shape.LATHE_PT_walk,
    preview.LATHE_PT_preview,
    shape.LATHE_PT_mesh,
    field.LATHE_PT_fit,
    field.LATHE_PT_capture,
    field.LATHE_PT_fit_options,
    image.LATHE_PT_picture,
    inversion.LATHE_PT_inversion,
    inversion.LATHE_PT_inversion_options,
    shape.LATHE_PT_scan,
    training_set.LATHE_PT_training_set,
    training_set.LATHE_PT_training_set_ranges,
    training.LATHE_PT_train,
    training.LATHE_PT_train_options,
    path.LATHE_PT_path,
    shape.LATHE_PT_export,
)
"""The sidebar's tab from top to bottom, parents before their children."""

CLASSES = (*OPERATORS, *LISTS, *PANELS)
MODULES = (preferences, properties, thumbnails, objects)
"""Modules with something of their own to register."""


def register() -> None:
    """Register everything with Blender."""
    for module in MODULES:
        module.register()
    for order, panel in enumerate(PANELS):
        panel.bl_order = order
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    configure(bpy.context)
    bpy.app.translations.register(preferences.PACKAGE, translations.TABLE)
    for handlers, function in HANDLERS:
        handlers.append(function)
    bpy.app.timers.register(tick, first_interval=0.1, persistent=True)
    keys = bpy.context.window_manager.keyconfigs.addon if bpy.context.window_manager else None
    if keys:  # background Blender has none
        keymap = keys.keymaps.new("Window", space_type="EMPTY")
        _keys.append((keymap, keymap.keymap_items.new("lathe.cancel_all", "ESC", "PRESS")))


def unregister() -> None:
    """Unregister everything and stop the backend and all jobs."""
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
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    for module in reversed(MODULES):
        module.unregister()
