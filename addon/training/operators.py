"""Operators of the Train panel."""

from typing import Any

import bpy
from bpy.props import StringProperty

from ..backend.actions import problem_python
from ..link.session import session
from ..ui.common import LatheOperator
from . import actions


class LATHE_OT_choose_training(LatheOperator, bpy.types.Operator):
    """Train this model, or with this preset"""

    bl_idname = "lathe.choose_training"
    bl_label = "Choose Training"

    model: StringProperty(name="Model", description="Name of the model to train", options={"SKIP_SAVE"})
    preset: StringProperty(name="Preset", description="Name of the model's preset", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        found = next((model for model in session.trainings if model.name == properties.model), None)
        return found.description.rstrip(".") if found and not properties.preset else str(cls.__doc__)

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if session.trainings else "No models are known: start the backend"

    def run(self, context: Any) -> None:
        settings = context.scene.lathe.training
        settings.model, settings.preset = self.model, self.preset


class LATHE_OT_train(LatheOperator, bpy.types.Operator):
    """Train the model on the images, from the start. The result is a model of its own, which generates shapes"""

    bl_idname = "lathe.train"
    bl_label = "Train"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_train(context)

    def run(self, context: Any) -> None:
        actions.train(context)


class LATHE_OT_pause_training(LatheOperator, bpy.types.Operator):
    """Pause the training. Its state is stored, also beyond this session, so that it can be resumed"""

    bl_idname = "lathe.pause_training"
    bl_label = "Pause"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_running(context)

    def run(self, context: Any) -> None:
        actions.pause(context)


class LATHE_OT_stop_training(LatheOperator, bpy.types.Operator):
    """End the training and delete its state, so that it cannot be resumed. The model stays as it is now"""

    bl_idname = "lathe.stop_training"
    bl_label = "Stop"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_running(context)

    def run(self, context: Any) -> None:
        actions.stop(context)


class LATHE_OT_resume_training(LatheOperator, bpy.types.Operator):
    """Resume this training where it was paused or interrupted. If its hours are over, those above are added"""

    bl_idname = "lathe.resume_training"
    bl_label = "Resume"

    training: StringProperty(
        name="Training", description="Name of the training; empty uses the first", options={"SKIP_SAVE"}
    )

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_resume(context)

    def run(self, context: Any) -> None:
        actions.resume(context, self.training or actions.stored_trainings()[0].name)


class LATHE_OT_discard_training(LatheOperator, bpy.types.Operator):
    """Delete the state and the images of this training, so that it cannot be resumed. Its model stays"""

    bl_idname = "lathe.discard_training"
    bl_label = "Discard"

    training: StringProperty(
        name="Training", description="Name of the training; empty uses the first", options={"SKIP_SAVE"}
    )

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_python(context) or ("" if actions.stored_trainings() else "There is no training to continue")

    def invoke(self, context: Any, event: Any) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def run(self, context: Any) -> None:
        actions.discard(context, self.training or actions.stored_trainings()[0].name)


class LATHE_OT_generate_from_training(LatheOperator, bpy.types.Operator):
    """Choose the trained model for new shapes and render its preview"""

    bl_idname = "lathe.generate_from_training"
    bl_label = "Generate from It"

    training: StringProperty(
        name="Training", description="Name of the training; empty uses the last", options={"SKIP_SAVE"}
    )

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_python(context)

    def run(self, context: Any) -> None:
        actions.generate(context, self.training or session.training)


CLASSES = (
    LATHE_OT_choose_training,
    LATHE_OT_train,
    LATHE_OT_pause_training,
    LATHE_OT_stop_training,
    LATHE_OT_resume_training,
    LATHE_OT_discard_training,
    LATHE_OT_generate_from_training,
)
