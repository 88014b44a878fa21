"""Operators of the Model panel."""

from typing import Any

import bpy
from bpy.props import EnumProperty, StringProperty

from ..backend.actions import problem_python
from ..link.session import session
from ..scene.gather import subject
from ..translations import translated
from ..ui.common import LatheOperator
from ..ui.layout import wrapped
from . import actions, importing


class LATHE_OT_refresh_models(LatheOperator, bpy.types.Operator):
    """Read the list of models from the backend again"""

    bl_idname = "lathe.refresh_models"
    bl_label = "Refresh Models"

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_python(context)

    def run(self, context: Any) -> None:
        actions.refresh_models(context)


class LATHE_OT_choose_model(LatheOperator, bpy.types.Operator):
    """Generate shapes with this model"""

    bl_idname = "lathe.choose_model"
    bl_label = "Choose Model"
    bl_options = {"REGISTER", "UNDO"}

    model: StringProperty(name="Model", description="Name of the model", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, context: Any, properties: Any) -> str:
        info = session.models.get(properties.model)
        return info.description if info else str(cls.__doc__)

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if session.models else "No models are known: start the backend"

    def run(self, context: Any) -> None:
        actions.choose_model(context, self.model)


class LATHE_OT_show_card(LatheOperator, bpy.types.Operator):
    """Show the model's card: data, recipe, licence and figures"""

    bl_idname = "lathe.show_card"
    bl_label = "Model Card"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_model(context)

    def invoke(self, context: Any, event: Any) -> set[str]:
        shown: set[str] = context.window_manager.invoke_popup(self, width=520)
        return shown

    def draw(self, context: Any) -> None:
        info = subject(context).info
        if info is None:
            return
        column = self.layout.column(align=True)
        column.label(text=info.label, icon="INFO", translate=False)
        column.label(text=translated("Licence: {licence}", licence=info.licence), translate=False)
        if info.non_commercial:
            column.label(text="Not for commercial use", icon="ERROR")
        column.separator()
        for line in (info.description + "\n\n" + info.card).splitlines():
            for piece in wrapped(line, 90):
                column.label(text=piece, translate=False)

    def run(self, context: Any) -> None:
        """Do nothing: the popup shows the card."""


_kinds: list[tuple[str, str, str]] = []  # Blender does not keep the texts of a dynamic list


def _kind_items(_self: Any, _context: Any) -> list[tuple[str, str, str]]:
    _kinds[:] = [("AUTO", "Automatic", "Detected from the file"), *((kind, kind, "") for kind in session.kinds)]
    return _kinds


class LATHE_OT_import_checkpoint(LatheOperator, bpy.types.Operator):
    """Import an official checkpoint, a file or a folder, as a model. No code in it is executed"""

    bl_idname = "lathe.import_checkpoint"
    bl_label = "Import Checkpoint"

    filepath: StringProperty(
        name="Checkpoint", description="A file or a folder", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_glob: StringProperty(default=importing.FILTER + ";*.data-*", options={"HIDDEN"})
    name: StringProperty(
        name="Name",
        description="Name of the model: letters, digits, '.', '-' and '_'. Empty uses the file's name; an existing "
        "imported model of the given name is replaced",
        options={"SKIP_SAVE"},
    )
    kind: EnumProperty(
        name="Architecture",
        description="Architecture of the checkpoint, if it cannot be detected from the file",
        items=_kind_items,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def problem(cls, context: Any) -> str:
        return importing.problem_import(context)

    def invoke(self, context: Any, event: Any) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "name")
        layout.prop(self, "kind")
        layout.label(text="Choose a file, or open a folder", icon="INFO")

    def run(self, context: Any) -> None:
        importing.import_checkpoint(context, self.filepath, self.name, "" if self.kind == "AUTO" else self.kind)


CLASSES = (
    LATHE_OT_refresh_models,
    LATHE_OT_choose_model,
    LATHE_OT_show_card,
    LATHE_OT_import_checkpoint,
)
