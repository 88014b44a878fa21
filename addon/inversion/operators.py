"""Operators of the Photo to Latent panel."""

from typing import Any

import bpy

from ..link.session import session
from ..ui.common import LatheOperator
from . import actions


class LATHE_OT_invert(LatheOperator, bpy.types.Operator):
    """Find the latent that makes the photo, starting from the view of the sliders. It becomes this shape's latent, to
    be mixed, keyframed and meshed as any other"""

    bl_idname = "lathe.invert"
    bl_label = "Photo to Latent"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_invert(context)

    def run(self, context: Any) -> None:
        actions.invert(context)


class LATHE_OT_cancel_invert(LatheOperator, bpy.types.Operator):
    """Cancel the fit to the photo. Nothing is changed"""

    bl_idname = "lathe.cancel_invert"
    bl_label = "Cancel"

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if session.jobs.find("invert") else "No photo is being fitted"

    def run(self, context: Any) -> None:
        actions.cancel(context)


CLASSES = (LATHE_OT_invert, LATHE_OT_cancel_invert)
