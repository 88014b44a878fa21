"""Settings of the preview that a .blend file stores."""

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    IntProperty,
)

from . import live


def _live_changed(_self, _context):
    live.forget()


class LathePreview(bpy.types.PropertyGroup):
    """The picture of the shape before it is a mesh."""

    source: EnumProperty(
        name="Through",
        description="Which view is rendered",
        items=(
            ("SLIDERS", "Sliders", "Yaw, pitch, roll and field of view below, round the model wherever it stands"),
            ("CAMERA", "Camera", "The scene's active camera"),
            ("VIEWPORT", "Viewport", "The largest 3D viewport, as you see it"),
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
        description="Render again whenever the view or the sliders change: a draft while they move, then the full "
        "picture. The newest request replaces older ones",
        update=_live_changed,
        options={"SKIP_SAVE"},
    )
    show: EnumProperty(
        name="Show",
        description="What the preview image shows",
        items=(
            ("COLOR", "Color", "Colours with alpha"),
            ("DEPTH", "Depth", "Distance along the view, near is bright"),
            ("NORMAL", "Normal", "World normals as colours"),
        ),
        default="COLOR",
        options=set(),
    )
    sketch: BoolProperty(
        name="Depth and Silhouette",
        description="Show both beside the picture: the 2.5D sketch that Visual Object Networks paint on. They are the "
        "images 'Lathe Depth' and 'Lathe Silhouette', too",
        options=set(),
    )


CLASSES = (LathePreview,)
