"""The Preview panel."""

import math
from typing import Any

import bpy

from ..link.session import session
from ..scene import apply
from ..scene.gather import subject
from ..ui.layout import LathePanel, settings_column, text_lines
from ..wire.messages import ModelInfo
from .actions import problem_preview

DEGREE = math.radians(1)
FULL_CIRCLE = 6.28


class LATHE_PT_preview(LathePanel, bpy.types.Panel):
    bl_label = "Preview"

    def draw(self, context: Any) -> None:
        layout = self.layout
        settings = context.scene.lathe.preview
        row = layout.row(align=True)
        row.operator("lathe.preview", icon="RENDER_STILL")
        row.prop(settings, "live", text="", icon="PLAY", toggle=True)
        if session.models and problem_preview(context):
            text_lines(layout, problem_preview(context), "INFO")
        sketch = (apply.DEPTH_IMAGE, apply.SILHOUETTE_IMAGE) if settings.sketch else ()
        images = [bpy.data.images.get(name) for name in (apply.PREVIEW_IMAGE, *sketch)]
        if images[0] is not None:
            row = layout.row()
            for image in images:
                if image is not None and image.preview is not None:
                    row.template_icon(icon_value=image.preview.icon_id, scale=4 if sketch else 8)
            if session.preview_note:
                text_lines(layout, session.preview_note, "INFO")
        layout.row().prop(settings, "source", expand=True)
        if settings.source == "SLIDERS":
            draw_view(layout, context)
        column = settings_column(layout)
        column.prop(settings, "size")
        column.prop(settings, "show")
        column.prop(settings, "sketch")
        layout.operator("lathe.add_camera", icon="CAMERA_DATA")


def draw_view(layout: Any, context: Any) -> None:
    """Draw the sliders of the view."""
    chosen = subject(context)
    view, info = chosen.settings.view, chosen.info
    column = layout.column(align=True)
    column.use_property_split = True
    for name in ("yaw", "pitch", "roll", "fov"):
        column.prop(view, name)
    layout.operator("lathe.reset_view", icon="LOOP_BACK")
    if info is not None and is_beyond(info, view):
        layout.label(text="Not trained on this view", icon="INFO")


def is_beyond(info: ModelInfo, view: Any) -> bool:
    """Return whether a LatheView lies outside the views that the model was trained on."""
    prior = info.pose_prior
    placed = (
        (prior.default_azimuth + view.yaw, prior.azimuth),
        (prior.default_elevation + view.pitch, prior.elevation),
    )
    limited = ((angle, low, high) for angle, (low, high) in placed if high - low < FULL_CIRCLE)
    return any(not low - DEGREE <= angle <= high + DEGREE for angle, low, high in limited)
