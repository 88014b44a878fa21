"""The Camera Path panel."""

import bpy

from ..ui.layout import LathePanel, text_lines
from . import actions


class LATHE_PT_path(LathePanel, bpy.types.Panel):
    bl_label = "Camera Path"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        scene = context.scene
        layout.operator("lathe.render_path", icon="RENDER_ANIMATION")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.row().prop(scene.lathe.path, "source", expand=True)
        column.prop(scene.lathe.path, "directory")
        if scene.lathe.path.directory.startswith("//") and not bpy.data.filepath:
            width = context.region.width if context.region else 260
            text_lines(column, f"The file is not saved: {actions.path_folder(context)}", width, "INFO")
        column.prop(scene.lathe.path, "overwrite")
        column.prop(scene.lathe.path, "quality")
        row = column.row(align=True)
        row.prop(scene, "frame_start", text="Frames")
        row.prop(scene, "frame_end", text="")
