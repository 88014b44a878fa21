"""Building blocks of the panels: their place in the sidebar, and wrapped text."""

import bpy


class LathePanel:
    """What all panels share."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Lathe"


def text_lines(layout, text, width, icon="NONE"):
    """Draw a long sentence as several labels, since labels do not wrap."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    characters = max(16, int(width / (7 * (bpy.context.preferences.system.ui_scale or 1.0))))
    for index, line in enumerate(wrapped(bpy.app.translations.pgettext_rpt(text), characters)):
        column.label(text=line, icon=icon if index == 0 else "BLANK1" if icon != "NONE" else "NONE", translate=False)
    return column


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most about `width` characters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines
