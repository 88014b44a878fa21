"""Base class of the operators."""

from ..scene.apply import redraw
from ..wire import errors


class LatheOperator:
    """What all buttons share: `problem` says why not, `run` does it, errors become reports."""

    @classmethod
    def poll(cls, context):
        problem = cls.problem(context)
        if problem:
            cls.poll_message_set(problem)
        return not problem

    @classmethod
    def problem(cls, context):
        """Return why the button cannot be pressed and what to do, or an empty string."""
        return ""

    def execute(self, context):
        try:
            self.run(context)
        except errors.LatheError as error:
            self.report({"ERROR"}, error.message)
            return {"CANCELLED"}
        redraw()
        return {"FINISHED"}
