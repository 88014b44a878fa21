"""Operators of latents, meshes, scans and exports."""

from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..link.session import session
from ..scene.apply import problem_object_mode
from ..scene.gather import field_object, generated_object, subject
from ..translations import translated
from ..ui.common import LatheOperator
from . import actions, latents
from .export import export, export_path, problem_export
from .scan import complete, fit_shape, problem_complete, problem_fit


class LATHE_OT_randomize_seeds(LatheOperator, bpy.types.Operator):
    """Draw both seeds at random"""

    bl_idname = "lathe.randomize_seeds"
    bl_label = "Random Seeds"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        actions.randomize_seeds(context)


class LATHE_OT_take_latent(LatheOperator, bpy.types.Operator):
    """Copy model, latent and mesh settings of the active generated object to the settings of new shapes"""

    bl_idname = "lathe.take_latent"
    bl_label = "Use for New Shapes"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if generated_object(context) else "Select an object that was generated here"

    def run(self, context: Any) -> None:
        actions.take_latent(context)


class LATHE_OT_new_shape(LatheOperator, bpy.types.Operator):
    """Leave the active object as it is and show the settings of new shapes"""

    bl_idname = "lathe.new_shape"
    bl_label = "New Shape"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        context.scene.lathe.target = "NEW"
        if field_object(context) is not None:
            context.view_layer.objects.active = None


class LATHE_OT_generate_mesh(LatheOperator, bpy.types.Operator):
    """Generate a mesh of the shape and add it to the scene"""

    bl_idname = "lathe.generate_mesh"
    bl_label = "Generate Mesh"

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_mesh(context)

    def run(self, context: Any) -> None:
        actions.generate_mesh(context)


class LATHE_OT_complete(LatheOperator, bpy.types.Operator):
    """Find the shape that fits the active object's vertices, and mesh it in the same place. In Edit Mode only the
    selected vertices are used. The object's local coordinates are the model's: Z up, at the model's size"""

    bl_idname = "lathe.complete"
    bl_label = "Complete Scan"

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_complete(context)

    def run(self, context: Any) -> None:
        complete(context)


class LATHE_OT_fit_shape(LatheOperator, bpy.types.Operator):
    """Train a shape network on the active mesh. It becomes a new model"""

    bl_idname = "lathe.fit_shape"
    bl_label = "Fit This Mesh"

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_fit(context)

    def run(self, context: Any) -> None:
        fit_shape(context)


class LATHE_OT_export(LatheOperator, bpy.types.Operator):
    """Write the selected generated objects to a file, with Blender's own exporters"""

    bl_idname = "lathe.export"
    bl_label = "Export Shape"

    filepath: StringProperty(name="File", description="File to write", subtype="FILE_PATH", options={"SKIP_SAVE"})
    format: EnumProperty(
        name="Format",
        description="File format of the export",
        items=(
            ("SCENE", "As in the Tab", "The format chosen in the tab"),
            ("GLB", "GLB", "glTF binary"),
            ("OBJ", "OBJ", "Wavefront"),
            ("PLY", "PLY", "Stanford"),
            ("USD", "USD", "Universal Scene Description"),
        ),
        options={"SKIP_SAVE"},
    )

    @classmethod
    def problem(cls, context: Any) -> str:
        return problem_export(context)

    def invoke(self, context: Any, event: Any) -> set[str]:
        if not self.filepath:
            self.filepath = export_path(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context: Any) -> None:
        chosen = context.scene.lathe.export.format if self.format == "SCENE" else self.format
        written = export(context, self.filepath or export_path(context), chosen)
        self.report({"INFO"}, translated("Wrote {file}", file=written))


WHERE = (("history", "History", "Latents rendered so far"), ("variants", "Variants", "The sheet of variants"))


class LATHE_OT_variants(LatheOperator, bpy.types.Operator):
    """Render a sheet of small images, one for each seed, to choose from. Everything else stays the same. The sheet is
    also the image 'Lathe Variants'"""

    bl_idname = "lathe.variants"
    bl_label = "Show Variants"

    count: IntProperty(
        name="Count", description="Number of images; 0 uses the tab's setting", min=0, max=256, options={"SKIP_SAVE"}
    )
    more: BoolProperty(name="More", description="Continue after the last seed of the sheet", options={"SKIP_SAVE"})

    @classmethod
    def problem(cls, context: Any) -> str:
        problem = actions.problem_latent(context)
        if not problem and session.jobs.find("variants"):
            return "Variants are being rendered: wait for them or cancel them at the top"
        return problem

    def run(self, context: Any) -> None:
        actions.variants(context, self.count, more=self.more)


class Remembered(LatheOperator):
    """Base of the operators on a latent of a list."""

    where: EnumProperty(name="List", description="List of latents", items=WHERE, options={"SKIP_SAVE", "HIDDEN"})
    index: IntProperty(name="Row", description="Row of the list", min=0, options={"SKIP_SAVE", "HIDDEN"})


class LATHE_OT_use_latent(Remembered, bpy.types.Operator):
    """Use this latent with its seeds, mixes, layers and controls"""

    bl_idname = "lathe.use_latent"
    bl_label = "Use Latent"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        actions.use_remembered(context, self.where, self.index)


class LATHE_OT_star_latent(Remembered, bpy.types.Operator):
    """Toggle whether this latent is a favourite. Favourites are never dropped from the history"""

    bl_idname = "lathe.star_latent"
    bl_label = "Favourite"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        actions.star(context, self.where, self.index)


class LATHE_OT_clear_history(LatheOperator, bpy.types.Operator):
    """Remove all latents except the favourites"""

    bl_idname = "lathe.clear_history"
    bl_label = "Clear History"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        kept = all(item.starred for item in context.scene.lathe.history)
        return "There is nothing to remove: favourites are kept" if kept else ""

    def run(self, context: Any) -> None:
        history = context.scene.lathe.history
        for index in reversed([index for index, item in enumerate(history) if not item.starred]):
            history.remove(index)


class LATHE_OT_swap_seeds(LatheOperator, bpy.types.Operator):
    """Exchange A and B: their seeds and their stored codes"""

    bl_idname = "lathe.swap_seeds"
    bl_label = "Swap Seeds"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context: Any) -> None:
        latent = subject(context).settings.latent
        latent.seed_a, latent.seed_b = latent.seed_b, latent.seed_a
        latent.code, latent.code_b = latent.code_b, latent.code
        latent.code_data, latent.code_b_data = latent.code_b_data, latent.code_data


class LATHE_OT_clear_layers(LatheOperator, bpy.types.Operator):
    """Take all layers from seed A again"""

    bl_idname = "lathe.clear_layers"
    bl_label = "Clear Layers"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if any(subject(context).settings.latent.style_layers) else "No layer is taken from seed B"

    def run(self, context: Any) -> None:
        latent = subject(context).settings.latent
        latent.style_layers = [False] * len(latent.style_layers)


class LATHE_OT_add_latent(LatheOperator, bpy.types.Operator):
    """Add an empty with this latent and the view of the sliders, which can be keyframed, driven and copied"""

    bl_idname = "lathe.add_latent"
    bl_label = "Keep on an Object"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_latent(context) or problem_object_mode(context)

    def run(self, context: Any) -> None:
        actions.add_latent(context)


class LATHE_OT_keyframe_walk(LatheOperator, bpy.types.Operator):
    """Keyframe the seeds and the mix from the current frame on, so that the shape changes from one seed to the next.
    The keyframes of an earlier walk are replaced; style mixing is turned off"""

    bl_idname = "lathe.keyframe_walk"
    bl_label = "Keyframe Walk"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return actions.problem_latent(context)

    def run(self, context: Any) -> None:
        first, last = actions.keyframe_walk(context)
        self.report({"INFO"}, translated("The walk takes frames {first} to {last}", first=first, last=last))


class LATHE_OT_clear_walk(LatheOperator, bpy.types.Operator):
    """Remove the keyframes of seeds, mixes and layers"""

    bl_idname = "lathe.clear_walk"
    bl_label = "Clear Walk"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        return "" if latents.is_walking(subject(context).settings) else "There are no keyframes of the seeds"

    def run(self, context: Any) -> None:
        latents.clear_walk(subject(context).settings)


class LATHE_OT_walk_favourites(LatheOperator, bpy.types.Operator):
    """Use the seeds of this model's favourites for the walk"""

    bl_idname = "lathe.walk_favourites"
    bl_label = "From Favourites"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context: Any) -> str:
        known = latents.favourite_seeds(context.scene, subject(context).settings.model)
        return "" if len(known) > 1 else "Mark two latents of this model as favourites in the history first"

    def run(self, context: Any) -> None:
        seeds = latents.favourite_seeds(context.scene, subject(context).settings.model)
        context.scene.lathe.walk.seeds = ", ".join(map(str, seeds))


CLASSES = (
    LATHE_OT_randomize_seeds,
    LATHE_OT_take_latent,
    LATHE_OT_new_shape,
    LATHE_OT_generate_mesh,
    LATHE_OT_complete,
    LATHE_OT_fit_shape,
    LATHE_OT_export,
    LATHE_OT_variants,
    LATHE_OT_use_latent,
    LATHE_OT_star_latent,
    LATHE_OT_clear_history,
    LATHE_OT_swap_seeds,
    LATHE_OT_clear_layers,
    LATHE_OT_add_latent,
    LATHE_OT_keyframe_walk,
    LATHE_OT_clear_walk,
    LATHE_OT_walk_favourites,
)
