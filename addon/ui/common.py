"""Base class of the operators."""

from __future__ import annotations

from typing import Any

from ..scene.apply import redraw
from ..wire import errors


class LatheOperator:
    """Base of the operators: `problem` explains why one is disabled, `run` does the work, errors become reports."""

    def __init_subclass__(cls) -> None:
        """Make the docstring, in one line, the tooltip."""
        if cls.__doc__:
            cls.bl_description = " ".join(cls.__doc__.split())  # type: ignore[attr-defined] # of bpy.types.Operator

    @classmethod
    def poll(cls, context: Any) -> bool:
        problem = cls.problem(context)
        if problem:
            cls.poll_message_set(problem)  # type: ignore[attr-defined] # likewise
        return not problem

    @classmethod
    def problem(cls, context: Any) -> str:
        """Return why the operator cannot run and what to do, or an empty string."""
        return ""

    def run(self, context: Any) -> None:
        """Do the work, or start a job that does. May raise a LatheError."""
        raise NotImplementedError

    def execute(self, context: Any) -> set[str]:
        try:
            self.run(context)
        except errors.LatheError as error:
            self.report({"ERROR"}, error.message)  # type: ignore[attr-defined] # likewise
            return {"CANCELLED"}
        redraw()
        return {"FINISHED"}
