"""Building blocks of the panels: their place in the sidebar, wrapped text, columns of settings."""

from __future__ import annotations

from typing import Any

import bpy

from ..link.session import session

DEFAULT_WIDTH = 260  # of a region that Blender has not drawn yet, in pixels
CHARACTER_WIDTH = 7  # pixels at an interface scale of 1, as the next two
MARGINS = 40  # of a panel, and the tabs beside it
ICON_WIDTH = 24


class LathePanel:
    """Base of the panels in the tab "Lathe" of the 3D viewport's sidebar."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Lathe"


def settings_column(layout: Any) -> Any:
    """Return a column with labels on the left and no dots for keyframes."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    return column


def text_lines(layout: Any, text: str, icon: str = "NONE") -> Any:
    """Draw a sentence, translated and wrapped to the width of the region (labels do not wrap). Returns the column."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    context = bpy.context
    width = context.region.width if context.region else DEFAULT_WIDTH
    scale = context.preferences.system.ui_scale or 1.0
    free = width / scale - MARGINS - (ICON_WIDTH if icon != "NONE" else 0)
    characters = max(16, int(free / CHARACTER_WIDTH))
    for index, line in enumerate(wrapped(bpy.app.translations.pgettext_rpt(text), characters)):
        column.label(text=line, icon=icon if index == 0 else "BLANK1" if icon != "NONE" else "NONE", translate=False)
    return column


def button(layout: Any, context: Any, operator: str, icon: str) -> Any:
    """Draw the button of an operator, and below it why it cannot be pressed now. Returns the operator's properties.

    As long as there is no backend, the head of the tab alone says so.
    """
    made = layout.operator(operator, icon=icon)
    problem = getattr(bpy.types, operator.replace("lathe.", "LATHE_OT_")).problem(context) if session.models else ""
    if problem:
        text_lines(layout, problem, "INFO")
    return made


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most about `width` characters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines
