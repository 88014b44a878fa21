"""The From an Image panel."""

from typing import Any

import bpy

from ..link.session import session
from ..scene.gather import subject
from ..ui.layout import LathePanel, text_lines
from . import actions


class LATHE_PT_picture(LathePanel, bpy.types.Panel):
    """Shapes and textures from images"""

    bl_label = "From an Image"

    @classmethod
    def poll(cls, context: Any) -> bool:
        info = subject(context).info
        return info is not None and not {"image_to_shape", "transfer_texture"}.isdisjoint(info.capabilities)

    def draw(self, context: Any) -> None:
        layout = self.layout
        known = subject(context).model.capabilities
        if "image_to_shape" in known:
            layout.operator("lathe.image_to_shape", icon="IMAGE_DATA")
        if "transfer_texture" in known:
            layout.operator("lathe.take_texture", icon="TEXTURE")
        image = bpy.data.images.get(actions.SOURCE_IMAGE)
        if image is not None and image.preview is not None:
            layout.template_icon(icon_value=image.preview.icon_id, scale=4)
        for note in session.notes:
            text_lines(layout, note, "INFO")
