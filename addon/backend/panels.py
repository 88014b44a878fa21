"""The Backend panel: state, memory, Set Up, results of the check."""

from typing import Any

import bpy

from ..link.session import STATE_TEXTS, session
from ..preferences import preferences
from ..translations import translated
from ..ui.layout import LathePanel, settings_column, text_lines
from ..ui.remedies import remedy_button
from . import actions

STATE_ICONS = {
    "not_set_up": "IMPORT",
    "off": "RADIOBUT_OFF",
    "starting": "SORTTIME",
    "ready": "RADIOBUT_ON",
    "stopping": "SORTTIME",
    "died": "ERROR",
    "failed": "ERROR",
}
VERDICT_ICONS = {"ok": "CHECKMARK", "warning": "ERROR", "fault": "CANCEL"}


class LATHE_PT_backend(LathePanel, bpy.types.Panel):
    bl_label = "Backend"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        state = session.state
        server = session.server
        line = STATE_TEXTS[state]  # the reason of a failure stands at the top of the tab
        if state == "ready" and server:
            line = translated("Ready on {device}", device=server.device_name or server.device)
        column = text_lines(layout, line, STATE_ICONS[state])
        column.alert = state in ("died", "failed")
        if state == "ready" and actions.device_changed(context):
            text_lines(layout, "Restart the backend to use the device that you chose", "INFO")
        if server:
            used, total = server.memory_used / 2**30, server.memory_total / 2**30
            memory = translated("{used:.1f} of {total:.0f} GB", used=used, total=total)
            layout.progress(factor=min(used / max(total, 1e-9), 1.0), type="BAR", text=memory)
            if server.device_memory_total:
                used, total = server.device_memory_used / 2**30, server.device_memory_total / 2**30
                gpu = translated("GPU {used:.1f} of {total:.0f} GB", used=used, total=total)
                layout.progress(factor=min(used / total, 1.0), type="BAR", text=gpu)
        row = layout.row(align=True)
        if state == "not_set_up":
            row.operator("lathe.set_up", icon="IMPORT")
        elif state in ("ready", "starting", "stopping"):
            row.operator("lathe.stop_backend", icon="PAUSE")
            row.operator("lathe.restart_backend", text="", icon="FILE_REFRESH")
        elif state in ("died", "failed"):
            row.operator("lathe.restart_backend", icon="FILE_REFRESH")
        else:
            row.operator("lathe.start_backend", icon="PLAY")
        row = layout.row(align=True)
        row.operator("lathe.doctor", icon="VIEWZOOM")
        row.operator("lathe.open_log", icon="TEXT")


class LATHE_PT_set_up(LathePanel, bpy.types.Panel):
    bl_label = "Set Up"
    bl_parent_id = "LATHE_PT_backend"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        chosen = preferences(context)
        if session.state != "not_set_up":  # else the button is right above
            layout.operator("lathe.set_up", icon="IMPORT")
        column = settings_column(layout)
        column.prop(chosen, "device")
        column.prop(chosen, "torch_build")
        column.prop(chosen, "wheels")
        column.prop(chosen, "python", text="Own Python")
        layout.operator("lathe.choose_python", text="Choose an Existing Python", icon="FILE_FOLDER")


class LATHE_PT_findings(LathePanel, bpy.types.Panel):
    bl_label = "Check"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return bool(session.findings)

    def draw(self, context: Any) -> None:
        row = self.layout.row()
        row.alignment = "RIGHT"
        row.operator("lathe.dismiss_findings", text="", icon="X", emboss=False)
        for finding in session.findings:
            box = self.layout.column()
            column = text_lines(box, f"{finding.name}: {finding.text}", VERDICT_ICONS[finding.verdict])
            column.alert = finding.verdict == "fault"
            remedy_button(box, finding.remedy)
