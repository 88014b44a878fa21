"""The Fit panel with its capture settings and options, and the crop box of a field."""

from typing import Any

import bpy

from ..link.jobs import Job
from ..link.session import session
from ..scene.gather import field_object
from ..translations import translated
from ..ui.layout import LathePanel, button, settings_column, text_lines
from ..wire.messages import FitOptions
from ..wire.options import options_of
from . import actions


class LATHE_PT_crop(LathePanel, bpy.types.Panel):
    bl_label = "Crop"
    bl_parent_id = "LATHE_PT_model"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return field_object(context) is not None

    def draw_header(self, context: Any) -> None:
        self.layout.prop(field_object(context).lathe, "use_crop", text="")

    def draw(self, context: Any) -> None:
        lathe = field_object(context).lathe
        layout = self.layout
        layout.active = lathe.use_crop
        layout.use_property_split = True
        layout.column().prop(lathe, "crop_min")
        layout.column().prop(lathe, "crop_max")
        layout.operator("lathe.reset_crop", icon="LOOP_BACK")


class LATHE_PT_fit(LathePanel, bpy.types.Panel):
    """Radiance fields fitted to images"""

    bl_label = "Fit"

    def draw(self, context: Any) -> None:
        layout = self.layout
        settings = context.scene.lathe.field
        job = session.jobs.find("fit")
        if job is not None:
            self.draw_running(layout, job)
            return
        layout.row().prop(settings, "source", expand=True)
        column = settings_column(layout)
        if settings.source == "SCENE":
            capture = context.scene.lathe.capture
            column.prop(capture, "target")
            column.prop(capture, "rig")
            column.prop(capture, "count")
            column.prop(capture, "size")
            button(layout, context, "lathe.capture", "OUTLINER_DATA_CAMERA")
        elif settings.source == "PHOTOS":
            column.prop(settings, "photos")
            column.prop(settings, "max_images")
            button(layout, context, "lathe.find_cameras", "OUTLINER_OB_CAMERA")
            for line in actions.report_lines():
                text_lines(layout, line)
        else:
            column.prop(settings, "folder")
        column = settings_column(layout)
        column.prop(settings, "name", placeholder=actions.field_name(context))
        column.prop(settings, "preset")
        button(layout, context, "lathe.fit", "MOD_FLUIDSIM")
        if any(stored.name == actions.field_name(context) for stored in actions.stored_fits()):
            text_lines(layout, "Fit starts from scratch; Continue resumes the stored fit", "INFO")
        self.draw_stored(layout)
        for line in session.warnings:
            text_lines(layout, line, "ERROR")

    def draw_running(self, layout: Any, job: Job) -> None:
        """Draw the running fit."""
        layout.label(text=job.label, icon="MOD_FLUIDSIM", translate=False)
        layout.progress(factor=job.fraction, type="BAR", text=job.text)
        column = layout.column(align=True)
        column.scale_y = 0.8
        for line in actions.figures_text(job.figures):
            column.label(text=line, translate=False)
        row = layout.row(align=True)
        row.operator("lathe.pause_fit", icon="PAUSE")
        row.operator("lathe.cancel_fit", icon="X")
        image = bpy.data.images.get(actions.FIT_IMAGE)
        if image is not None and image.preview is not None:
            layout.template_icon(icon_value=image.preview.icon_id, scale=8)

    def draw_stored(self, layout: Any) -> None:
        """Draw the fits that can be continued."""
        for stored in actions.stored_fits():
            box = layout.box()
            what = stored.name
            if stored.steps:
                what += translated(": {steps} steps, {seconds:.0f} s", steps=stored.steps, seconds=stored.seconds)
            if stored.psnr is not None:
                what += f", {stored.psnr:.1f} dB"
            text_lines(box, what, "CHECKMARK" if stored.finished else "PAUSE")
            row = box.row(align=True)
            row.operator("lathe.continue_fit", icon="PLAY").field = stored.name
            row.operator("lathe.discard_fit", text="", icon="TRASH").field = stored.name


class LATHE_PT_capture(LathePanel, bpy.types.Panel):
    bl_label = "Capture"
    bl_parent_id = "LATHE_PT_fit"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return context.scene.lathe.field.source == "SCENE"

    def draw(self, context: Any) -> None:
        column = settings_column(self.layout)
        settings = context.scene.lathe.capture
        names = ["test", "fill", "transparent", "depth", "normal", "mask", "seed", "overwrite"]
        for name in ["elevation", *names] if settings.rig == "ORBIT" else names:
            column.prop(settings, name)
        column.prop(context.scene.lathe.field, "data_sets")
        text_lines(column, str(actions.data_set_folder(context)), "INFO")


class LATHE_PT_fit_options(LathePanel, bpy.types.Panel):
    bl_label = "Options"
    bl_parent_id = "LATHE_PT_fit"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        column = settings_column(self.layout)
        settings = context.scene.lathe.field
        for name in options_of(FitOptions):
            if name != "preset":  # in the panel above
                column.prop(settings, name)
            if name == "steps":
                column.prop(settings, "more_seconds")
        if settings.source == "PHOTOS":
            column.prop(settings, "max_size")
            column.prop(settings, "data_sets")
