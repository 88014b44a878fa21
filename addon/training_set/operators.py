"""Operator of the Training Set panel."""

from typing import Any

import bpy

from ..translations import translated
from ..ui.common import LatheOperator
from . import actions


class LATHE_OT_make_training_set(LatheOperator, bpy.types.Operator):
    """Render many objects of one class from random viewpoints, to train a generator on. Esc stops it; pressed again,
    it goes on"""

    bl_idname = "lathe.make_training_set"
    bl_label = "Make Training Set"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_make(context)

    def run(self, context: Any) -> None:
        actions.make(context)
        self.report({"INFO"}, translated("The images are written to {folder}", folder=actions.folder_of(context)))


CLASSES = (LATHE_OT_make_training_set,)
