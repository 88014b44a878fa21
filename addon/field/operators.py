"""Operators of the Fit panel."""

from typing import Any

import bpy
from bpy.props import StringProperty

from ..backend.actions import problem_python
from ..scene import gather
from ..translations import translated
from ..ui.common import LatheOperator
from . import actions


class LATHE_OT_capture(LatheOperator, bpy.types.Operator):
    """Render the scene from all sides as a data set. Esc cancels it; pressed again, it is resumed"""

    bl_idname = "lathe.capture"
    bl_label = "Capture"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_capture(context)

    def run(self, context: Any) -> None:
        actions.capture(context)
        self.report({"INFO"}, translated("The images are written to {folder}", folder=actions.data_set_folder(context)))


class LATHE_OT_find_cameras(LatheOperator, bpy.types.Operator):
    """Estimate the cameras of photographs or of the frames of a video, and show them in the scene"""

    bl_idname = "lathe.find_cameras"
    bl_label = "Find Cameras"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_find_cameras(context)

    def run(self, context: Any) -> None:
        actions.find_cameras(context)


class LATHE_OT_fit(LatheOperator, bpy.types.Operator):
    """Fit a radiance field to the images. It appears in the scene as a box that can be moved and meshed"""

    bl_idname = "lathe.fit"
    bl_label = "Fit"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_fit(context)

    def run(self, context: Any) -> None:
        actions.fit(context)


class LATHE_OT_pause_fit(LatheOperator, bpy.types.Operator):
    """Pause the fit. Its state is stored, also beyond this session, so that it can be continued"""

    bl_idname = "lathe.pause_fit"
    bl_label = "Pause"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_running(context)

    def run(self, context: Any) -> None:
        actions.pause(context)


class LATHE_OT_cancel_fit(LatheOperator, bpy.types.Operator):
    """Stop the fit and delete its state, so that it cannot be continued. A field that was already stored stays"""

    bl_idname = "lathe.cancel_fit"
    bl_label = "Cancel"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_running(context)

    def run(self, context: Any) -> None:
        actions.cancel(context)


class LATHE_OT_continue_fit(LatheOperator, bpy.types.Operator):
    """Continue this fit where it was paused or interrupted, or extend it if it has finished"""

    bl_idname = "lathe.continue_fit"
    bl_label = "Continue"

    field: StringProperty(name="Field", description="Name of the fit; empty uses the first", options={"SKIP_SAVE"})

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_continue(context) or actions.problem_stored()

    def run(self, context: Any) -> None:
        actions.continue_fit(context, self.field or actions.stored_fits()[0].name)


class LATHE_OT_discard_fit(LatheOperator, bpy.types.Operator):
    """Delete the state of this fit, so that it cannot be continued. The field itself stays"""

    bl_idname = "lathe.discard_fit"
    bl_label = "Discard"

    field: StringProperty(name="Field", description="Name of the fit; empty uses the first", options={"SKIP_SAVE"})

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_python(context) or actions.problem_stored()

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def run(self, context: Any) -> None:
        actions.discard(context, self.field or actions.stored_fits()[0].name)


class LATHE_OT_add_field(LatheOperator, bpy.types.Operator):
    """Add the chosen radiance field to the scene, at the place where its images were taken"""

    bl_idname = "lathe.add_field"
    bl_label = "Add Field"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_add_field(context)

    def run(self, context: Any) -> None:
        actions.add_field(context.scene, context.scene.lathe.model)


class LATHE_OT_reset_crop(LatheOperator, bpy.types.Operator):
    """Reset the crop box to the field's whole box"""

    bl_idname = "lathe.reset_crop"
    bl_label = "Reset Crop"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if gather.field_object(context) else "Select a field"

    def run(self, context: Any) -> None:
        actions.reset_crop(context)


CLASSES = (
    LATHE_OT_capture,
    LATHE_OT_find_cameras,
    LATHE_OT_fit,
    LATHE_OT_pause_fit,
    LATHE_OT_cancel_fit,
    LATHE_OT_continue_fit,
    LATHE_OT_discard_fit,
    LATHE_OT_add_field,
    LATHE_OT_reset_crop,
)
