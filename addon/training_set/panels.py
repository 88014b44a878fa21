"""The Training Set panel."""

from typing import Any

import bpy

from ..link.session import session
from ..ui.layout import LathePanel, button, settings_column, text_lines
from ..wire.messages import TrainingSetRequest
from ..wire.options import options_of
from . import actions


class LATHE_PT_training_set(LathePanel, bpy.types.Panel):
    """Renders of many objects of one class, to train a generator on"""

    bl_label = "Training Set"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        settings = context.scene.lathe.training_set
        job = session.jobs.find("training_set")
        if job is not None:
            layout.progress(factor=job.fraction, type="BAR", text=job.text)
            return
        layout.row().prop(settings, "source", expand=True)
        column = settings_column(layout)
        if settings.source == "COLLECTION":
            column.prop(settings, "collection")
            for name in ("count", "pixels"):
                column.prop(settings, name)
        else:
            for name in options_of(TrainingSetRequest):
                column.prop(settings, name)
        column.prop(settings, "folder")
        button(layout, context, "lathe.make_training_set", "RENDER_STILL")
        text_lines(layout, str(actions.folder_of(context)), "INFO")


class LATHE_PT_training_set_ranges(LathePanel, bpy.types.Panel):
    bl_label = "Ranges"
    bl_parent_id = "LATHE_PT_training_set"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return context.scene.lathe.training_set.source == "COLLECTION"

    def draw(self, context: Any) -> None:
        column = settings_column(self.layout)
        settings = context.scene.lathe.training_set
        sun = ("sun_azimuth", "sun_elevation", "sun_strength", "ambient") if settings.light == "SUN" else ()
        for name in ("azimuth", "elevation", "fov", "light", *sun, "seed", "overwrite"):
            column.prop(settings, name)
