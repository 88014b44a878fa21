"""The Photo to Latent panel."""

from typing import Any

import bpy

from ..link.session import session
from ..scene.gather import subject
from ..ui.layout import LathePanel, settings_column, text_lines
from ..wire.messages import InversionOptions
from ..wire.options import options_of
from . import actions

SHOWN = ("steps", "tuning_steps")  # options in the panel itself


class LATHE_PT_inversion(LathePanel, bpy.types.Panel):
    """Latents of photographs"""

    bl_label = "Photo to Latent"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return actions.can_invert(subject(context).info)

    def draw(self, context: Any) -> None:
        layout, settings = self.layout, context.scene.lathe.inversion
        job = session.jobs.find("invert")
        if job is not None:
            layout.label(text=job.label, icon="PLAY", translate=False)
            layout.progress(factor=job.fraction, type="BAR", text=job.text)
            layout.operator("lathe.cancel_invert", icon="X")
        else:
            layout.template_ID(settings, "image", open="image.open")
            column = settings_column(layout)
            column.prop(settings, "mask", text="Mask")
            for name in SHOWN:
                column.prop(settings, name)
            if settings.tuning_steps:
                column.prop(settings, "model_name", placeholder=actions.tuned_name(context))
            layout.operator("lathe.invert", icon="IMAGE_DATA")
        image = bpy.data.images.get(actions.PROGRESS_IMAGE)
        if image is not None and image.preview is not None:
            layout.template_icon(icon_value=image.preview.icon_id, scale=8)
            for note in session.notes:
                text_lines(layout, note, "INFO")


class LATHE_PT_inversion_options(LathePanel, bpy.types.Panel):
    bl_label = "Options"
    bl_parent_id = "LATHE_PT_inversion"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        column = settings_column(self.layout)
        for name in options_of(InversionOptions):
            if name not in SHOWN:
                column.prop(context.scene.lathe.inversion, name)
