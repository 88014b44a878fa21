"""The Train panel."""

from typing import Any

import bpy

from ..link.jobs import Job
from ..link.session import session
from ..translations import translated
from ..ui.layout import LathePanel, button, settings_column, text_lines
from ..wire.messages import TrainOptions
from ..wire.options import options_of
from . import actions

SHOWN = ("hours", "loss")  # options in the panel itself


class LATHE_MT_trainable(bpy.types.Menu):
    bl_label = "Model to Train"

    def draw(self, context: Any) -> None:
        for model in session.trainings:
            row = self.layout.operator("lathe.choose_training", text=model.label, translate=False)
            row.model = model.name


class LATHE_MT_training_preset(bpy.types.Menu):
    bl_label = "Preset"

    def draw(self, context: Any) -> None:
        model = actions.chosen_model(context)
        if model is None:
            return
        for preset in model.presets:
            row = self.layout.operator("lathe.choose_training", text=preset, translate=False)
            row.model, row.preset = model.name, preset


class LATHE_PT_train(LathePanel, bpy.types.Panel):
    """Generators trained on images"""

    bl_label = "Train"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        job = session.jobs.find("train")
        if job is not None:
            self.draw_running(layout, job)
        else:
            self.draw_settings(layout, context)
            self.draw_stored(layout)
        for name in (actions.SWEEP_IMAGE, actions.CURVES_IMAGE):
            image = bpy.data.images.get(name)
            if image is not None and image.preview is not None:
                layout.template_icon(icon_value=image.preview.icon_id, scale=10)
        for line in session.training_report:
            text_lines(layout, line, "INFO")

    def draw_settings(self, layout: Any, context: Any) -> None:
        """Draw what the next training is made from."""
        settings, model = context.scene.lathe.training, actions.chosen_model(context)
        row = layout.row(align=True)
        row.menu("LATHE_MT_trainable", text=model.label if model else "Model to Train", icon="NETWORK_DRIVE")
        row.menu("LATHE_MT_training_preset", text=actions.chosen_preset(context) or "Preset")
        if model is not None:
            text_lines(layout, model.description)
            if model.needs_poses:
                text_lines(layout, "The images need cameras", "INFO")
        column = settings_column(layout)
        column.prop(settings, "folder")
        column.prop(settings, "name", placeholder=actions.training_name(context))
        for name in SHOWN:
            column.prop(settings, name)
        button(layout, context, "lathe.train", "PLAY")

    def draw_running(self, layout: Any, job: Job) -> None:
        """Draw the running training."""
        layout.label(text=job.label, icon="PLAY", translate=False)
        layout.progress(factor=job.fraction, type="BAR", text=job.text)
        column = layout.column(align=True)
        column.scale_y = 0.8
        for line in actions.figures_text(job.figures):
            column.label(text=line, translate=False)
        row = layout.row(align=True)
        row.operator("lathe.pause_training", icon="PAUSE")
        row.operator("lathe.stop_training", icon="X")
        if session.training in session.models:
            layout.operator("lathe.generate_from_training", icon="SHADERFX").training = session.training

    def draw_stored(self, layout: Any) -> None:
        """Draw the trainings that can be resumed, and the result of the last one."""
        stored = actions.stored_trainings()
        for training in stored:
            box = layout.box()
            what = training.name
            if training.steps:
                what += translated(
                    ": step {step} of {steps}, {hours:.1f} hours",
                    step=training.steps, steps=training.total_steps, hours=training.seconds / 3600,
                )  # fmt: skip
            text_lines(box, what, "CHECKMARK" if training.finished else "PAUSE")
            row = box.row(align=True)
            if not training.total_steps or training.steps < training.total_steps:
                row.operator("lathe.resume_training", icon="PLAY").training = training.name
            if training.name in session.models:
                row.operator("lathe.generate_from_training", icon="SHADERFX").training = training.name
            row.operator("lathe.discard_training", text="", icon="TRASH").training = training.name
        if session.training in session.models and session.training not in [training.name for training in stored]:
            layout.operator("lathe.generate_from_training", icon="SHADERFX").training = session.training


class LATHE_PT_train_options(LathePanel, bpy.types.Panel):
    bl_label = "Options"
    bl_parent_id = "LATHE_PT_train"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        column = settings_column(self.layout)
        for name in options_of(TrainOptions):
            if name not in SHOWN:
                column.prop(context.scene.lathe.training, name)
