"""Settings of the preview that a .blend file stores."""

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty

from . import live


def _live_changed(_self: Any, _context: Any) -> None:
    live.forget()


class LathePreview(bpy.types.PropertyGroup):
    """`scene.lathe.preview`: the preview image."""

    source: EnumProperty(
        name="Through",
        description="View to render",
        items=(
            ("SLIDERS", "Sliders", "Yaw, pitch, roll and field of view below, around the model wherever it is placed"),
            ("CAMERA", "Camera", "The scene's active camera"),
            ("VIEWPORT", "Viewport", "The largest 3D viewport"),
        ),
        default="VIEWPORT",
        options=set(),
    )
    size: IntProperty(
        name="Size",
        description="Pixels along the longer side of the preview",
        default=256,
        min=16,
        max=2048,
        options=set(),
    )
    live: BoolProperty(
        name="Live",
        description="Render again whenever the view or the sliders change: a draft while they move, then full quality",
        update=_live_changed,
        options={"SKIP_SAVE"},
    )
    show: EnumProperty(
        name="Show",
        description="Content of the preview image",
        items=(
            ("COLOR", "Color", "Colours with alpha"),
            ("DEPTH", "Depth", "Distance along the view; near is bright"),
            ("NORMAL", "Normal", "World normals as colours"),
        ),
        default="COLOR",
        options=set(),
    )
    sketch: BoolProperty(
        name="Depth and Silhouette",
        description="Show both next to the preview: the 2.5D sketch that Visual Object Networks texture. They are "
        "also the images 'Lathe Depth' and 'Lathe Silhouette'",
        options=set(),
    )


CLASSES = (LathePreview,)
