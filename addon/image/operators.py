"""Operators of the From an Image panel."""

import bpy
from bpy.props import StringProperty

from ..ui.common import LatheOperator
from . import actions


class Chosen(LatheOperator):
    """Buttons that ask for a file first."""

    def invoke(self, context, event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}


class LATHE_OT_image_to_shape(Chosen, bpy.types.Operator):
    """Find the shape that a picture shows, and mesh it at the 3D cursor. Any size will do; alpha, where the picture has
    it, says what belongs to the shape"""

    bl_idname = "lathe.image_to_shape"
    bl_label = "Image to Shape"

    filepath: StringProperty(name="Picture", description="An image file", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=actions.FILTER, options={"HIDDEN"})

    @classmethod
    def problem(cls, context):
        return actions.problem_image_to_shape(context)

    def run(self, context):
        actions.image_to_shape(context, self.filepath)


class LATHE_OT_take_texture(Chosen, bpy.types.Operator):
    """Give this shape the texture that a picture shows. Any size will do; alpha, where the picture has it, says what
    belongs to the object"""

    bl_idname = "lathe.take_texture"
    bl_label = "Take Texture from Image"

    filepath: StringProperty(name="Picture", description="An image file", subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=actions.FILTER, options={"HIDDEN"})

    @classmethod
    def problem(cls, context):
        return actions.problem_take_texture(context)

    def run(self, context):
        actions.take_texture(context, self.filepath)


class LATHE_OT_fit_views(LatheOperator, bpy.types.Operator):
    """Make pictures of this shape from all the sides that the model knows, and fit a radiance field to them with the
    options of the panel Fit. The field has a surface, as good as the pictures agree"""

    bl_idname = "lathe.fit_views"
    bl_label = "Fit a Radiance Field to Its Views"

    @classmethod
    def problem(cls, context):
        return actions.problem_fit_views(context)

    def run(self, context):
        actions.fit_views(context)


class LATHE_OT_complete_depth(Chosen, bpy.types.Operator):
    """Find the model's shape that fits a depth image, seen from the active camera, and mesh it where a new shape
    stands. Metres along the view: a .npy file [height, width], or the depth pass of a render as OpenEXR without
    compression"""

    bl_idname = "lathe.complete_depth"
    bl_label = "Complete Depth Image"

    filepath: StringProperty(
        name="Depth Image", description="A .npy or .exr file", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_glob: StringProperty(default=actions.DEPTH_FILTER, options={"HIDDEN"})

    @classmethod
    def problem(cls, context):
        return actions.problem_complete_depth(context)

    def run(self, context):
        actions.complete_depth(context, self.filepath)


CLASSES = (
    LATHE_OT_image_to_shape,
    LATHE_OT_take_texture,
    LATHE_OT_fit_views,
    LATHE_OT_complete_depth,
)
