"""The Camera Path panel."""

from typing import Any

import bpy

from ..translations import translated
from ..ui.layout import LathePanel, button, settings_column, text_lines
from . import actions


class LATHE_PT_path(LathePanel, bpy.types.Panel):
    bl_label = "Camera Path"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        scene = context.scene
        button(layout, context, "lathe.render_path", "RENDER_ANIMATION")
        column = settings_column(layout)
        column.row().prop(scene.lathe.path, "source", expand=True)
        column.prop(scene.lathe.path, "directory")
        if scene.lathe.path.directory.startswith("//") and not bpy.data.filepath:
            text_lines(
                column,
                translated("The .blend file is not saved: {folder}", folder=actions.path_folder(context)),
                "INFO",
            )
        column.prop(scene.lathe.path, "overwrite")
        column.prop(scene.lathe.path, "quality")
        row = column.row(align=True)
        row.prop(scene, "frame_start", text="Frames")
        row.prop(scene, "frame_end", text="")
