"""Settings of a camera path that a .blend file stores."""

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    StringProperty,
)

from ..scene.option_properties import option_property
from ..wire.messages import RenderRequest


class LathePath(bpy.types.PropertyGroup):
    """An animation through the active camera, or of the view's sliders."""

    source: EnumProperty(
        name="Through",
        description="Which view is rendered. Latents and sliders follow their keyframes and drivers either way",
        items=(
            ("CAMERA", "Camera", "The scene's active camera"),
            ("SLIDERS", "Sliders", "Yaw, pitch, roll and field of view of the panel Preview"),
        ),
        default="CAMERA",
        options=set(),
    )
    directory: StringProperty(
        name="Folder",
        description="Where the frames are written, as 0001.png and so on. // is the folder of the .blend file",
        subtype="DIR_PATH",
        default="//lathe_frames",
        options=set(),
    )
    overwrite: BoolProperty(
        name="Overwrite",
        description="Render every frame again. Off, frames whose file exists are skipped, so an interrupted path goes "
        "on where it stopped",
        options=set(),
    )
    quality: option_property(RenderRequest, "quality")


CLASSES = (LathePath,)
