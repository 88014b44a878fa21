"""Settings of a camera path that a .blend file stores."""

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..scene.option_properties import option_property
from ..wire.messages import RenderRequest


class LathePath(bpy.types.PropertyGroup):
    """`scene.lathe.path`: an animation through the active camera, or of the sliders of the view."""

    source: EnumProperty(
        name="Through",
        description="View to render. Latents and sliders follow their keyframes and drivers in both cases",
        items=(
            ("CAMERA", "Camera", "The scene's active camera"),
            ("SLIDERS", "Sliders", "Yaw, pitch, roll and field of view in the panel Preview"),
        ),
        default="CAMERA",
        options=set(),
    )
    directory: StringProperty(
        name="Folder",
        description="Folder for the frames 0001.png, 0002.png and so on. // is the folder of the .blend file",
        subtype="DIR_PATH",
        default="//lathe_frames",
        options=set(),
    )
    overwrite: BoolProperty(
        name="Overwrite",
        description="Render every frame again. If off, frames whose file exists are skipped, so that an interrupted "
        "path is resumed",
        options=set(),
    )
    quality: option_property(RenderRequest, "quality")


CLASSES = (LathePath,)
