"""Operators of the From an Image panel."""

from typing import Any

import bpy
from bpy.props import StringProperty

from ..ui.common import LatheOperator
from . import actions


class FileOperator(LatheOperator):
    """Base of the operators that open a file browser first."""

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class LATHE_OT_image_to_shape(FileOperator, bpy.types.Operator):
    """Find the shape that an image shows, and mesh it at the 3D cursor. The image may have any size; its alpha, if it
    has one, masks the object"""

    bl_idname = "lathe.image_to_shape"
    bl_label = "Image to Shape"

    filepath: StringProperty(name="Image", description="An image file", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=actions.FILTER, options={"HIDDEN"})

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_image_to_shape(context)

    def run(self, context: Any) -> None:
        actions.image_to_shape(context, self.filepath)


class LATHE_OT_take_texture(FileOperator, bpy.types.Operator):
    """Transfer the texture of the object in an image to this shape. The image may have any size; its alpha, if it has
    one, masks the object"""

    bl_idname = "lathe.take_texture"
    bl_label = "Take Texture from Image"

    filepath: StringProperty(name="Image", description="An image file", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=actions.FILTER, options={"HIDDEN"})

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_take_texture(context)

    def run(self, context: Any) -> None:
        actions.take_texture(context, self.filepath)


class LATHE_OT_fit_views(LatheOperator, bpy.types.Operator):
    """Render this shape from all the views that the model was trained on, and fit a radiance field to the images with
    the options of the panel Fit. The field has a surface, as accurate as the images are consistent"""

    bl_idname = "lathe.fit_views"
    bl_label = "Fit a Radiance Field to Its Views"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_fit_views(context)

    def run(self, context: Any) -> None:
        actions.fit_views(context)


class LATHE_OT_complete_depth(FileOperator, bpy.types.Operator):
    """Find the shape that fits a depth image seen from the active camera, and mesh it where a new shape would be
    placed. Depth is in metres along the view: a .npy file [height, width], or an uncompressed OpenEXR depth pass"""

    bl_idname = "lathe.complete_depth"
    bl_label = "Complete Depth Image"

    filepath: StringProperty(
        name="Depth Image", description="A .npy or .exr file", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_glob: StringProperty(default=actions.DEPTH_FILTER, options={"HIDDEN"})

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_complete_depth(context)

    def run(self, context: Any) -> None:
        actions.complete_depth(context, self.filepath)


CLASSES = (
    LATHE_OT_image_to_shape,
    LATHE_OT_take_texture,
    LATHE_OT_fit_views,
    LATHE_OT_complete_depth,
)
