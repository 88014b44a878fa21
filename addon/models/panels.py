"""The Model panel and its menu."""

from typing import Any

import bpy

from ..link.session import session
from ..scene.gather import field_object, generated_object, is_field, subject
from ..ui.layout import LathePanel, text_lines


class LATHE_MT_model(bpy.types.Menu):
    bl_label = "Model"

    def draw(self, context: Any) -> None:
        for name, info in session.models.items():
            icon = "LOCKED" if info.non_commercial else "NONE"
            self.layout.operator("lathe.choose_model", text=info.label, icon=icon, translate=False).model = name


class LATHE_PT_model(LathePanel, bpy.types.Panel):
    bl_label = "Model"

    def draw(self, context: Any) -> None:
        layout = self.layout
        if generated_object(context) is not None:
            layout.row().prop(context.scene.lathe, "target", expand=True)
        chosen = subject(context)
        info = chosen.info
        row = layout.row(align=True)
        name = info.label if info else chosen.settings.model or "None"
        if field_object(context) is not None:
            row.label(text=name, icon="MESH_CUBE", translate=False)
        else:
            row.menu("LATHE_MT_model", text=name, icon="NETWORK_DRIVE")
        row.operator("lathe.refresh_models", text="", icon="FILE_REFRESH")
        row.operator("lathe.show_card", text="", icon="INFO")
        layout.operator("lathe.import_checkpoint", icon="IMPORT")
        if info and info.non_commercial:
            text_lines(layout, "Not for commercial use", "ERROR").alert = True
        if is_field(info) and chosen.object is None:
            layout.operator("lathe.add_field", icon="MESH_CUBE")
        for broken in session.broken_models:
            text_lines(layout, f"{broken.name}: {broken.error.message}", "ERROR").alert = True
        if chosen.object is not None and not chosen.object.lathe.is_field:
            layout.operator("lathe.take_latent", icon="COPYDOWN")


class LATHE_PT_licence(LathePanel, bpy.types.Panel):
    bl_label = "Licence"
    bl_parent_id = "LATHE_PT_model"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return subject(context).info is not None

    def draw(self, context: Any) -> None:
        text_lines(self.layout, subject(context).model.licence)
