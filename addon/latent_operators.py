"""The buttons of the generators' panels: variants, history, walk, and importing a checkpoint."""

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from . import actions, importing, latents
from .gather import subject
from .operators import Pressed
from .session import session

WHERE = (("history", "History", "Latents that were seen"), ("variants", "Variants", "The sheet to choose from"))


class LATHE_OT_variants(Pressed, bpy.types.Operator):
    """Render a sheet of small pictures, one for each seed, to choose from; all else stays as it is set. It is the image
    'Lathe Variants', too"""

    bl_idname = "lathe.variants"
    bl_label = "Show Variants"

    count: IntProperty(name="Count", description="How many; 0 as the tab says", min=0, max=256, options={"SKIP_SAVE"})
    more: BoolProperty(name="More", description="Go on after the last seed of the sheet", options={"SKIP_SAVE"})

    @classmethod
    def problem(cls, context):
        busy = (
            "Variants are on their way: wait for them or cancel them in Jobs" if session.jobs.find("variants") else ""
        )
        return actions.problem_latent(context) or busy

    def run(self, context):
        actions.variants(context, self.count, more=self.more)


class Remembered(Pressed):
    """Buttons of a latent in a list."""

    where: EnumProperty(name="List", description="Which list", items=WHERE, options={"SKIP_SAVE", "HIDDEN"})
    index: IntProperty(name="Row", description="Which of the list", min=0, options={"SKIP_SAVE", "HIDDEN"})


class LATHE_OT_use_latent(Remembered, bpy.types.Operator):
    """Use this latent: all of it, seeds, mixes, layers and the model's own sliders"""

    bl_idname = "lathe.use_latent"
    bl_label = "Use Latent"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context):
        actions.use_remembered(context, self.where, self.index)


class LATHE_OT_star_latent(Remembered, bpy.types.Operator):
    """Make this latent a favourite, or no longer one. Favourites are never forgotten"""

    bl_idname = "lathe.star_latent"
    bl_label = "Favourite"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context):
        actions.star(context, self.where, self.index)


class LATHE_OT_clear_history(Pressed, bpy.types.Operator):
    """Forget all latents but the favourites"""

    bl_idname = "lathe.clear_history"
    bl_label = "Clear History"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        kept = all(item.starred for item in context.scene.lathe.history)
        return "There is nothing to forget: favourites are kept" if kept else ""

    def run(self, context):
        history = context.scene.lathe.history
        for index in reversed([index for index, item in enumerate(history) if not item.starred]):
            history.remove(index)


class LATHE_OT_swap_seeds(Pressed, bpy.types.Operator):
    """Exchange seed A and seed B"""

    bl_idname = "lathe.swap_seeds"
    bl_label = "Swap Seeds"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context):
        latent = subject(context).settings.latent
        latent.seed_a, latent.seed_b = latent.seed_b, latent.seed_a


class LATHE_OT_clear_layers(Pressed, bpy.types.Operator):
    """Take no layer from seed B any more"""

    bl_idname = "lathe.clear_layers"
    bl_label = "Clear Layers"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return "" if any(subject(context).settings.latent.style_layers) else "No layer is taken from seed B"

    def run(self, context):
        latent = subject(context).settings.latent
        latent.style_layers = [False] * len(latent.style_layers)


class LATHE_OT_reset_view(Pressed, bpy.types.Operator):
    """Look at the model as it was trained to be seen"""

    bl_idname = "lathe.reset_view"
    bl_label = "Reset View"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return actions.problem_model(context)

    def run(self, context):
        chosen = subject(context)
        view = chosen.settings.view
        view.yaw = view.pitch = view.roll = 0.0
        view.fov = chosen.info.pose_prior.fov


class LATHE_OT_add_latent(Pressed, bpy.types.Operator):
    """Add an empty that holds this latent and the view of the sliders, to be keyframed, driven and copied as an
    object"""

    bl_idname = "lathe.add_latent"
    bl_label = "Keep on an Object"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return actions.problem_latent(context) or actions.problem_object_mode(context)

    def run(self, context):
        actions.add_latent(context)


class LATHE_OT_keyframe_walk(Pressed, bpy.types.Operator):
    """Keyframe the seeds and the mix, from this frame on, so that the shape goes from one seed to the next. The
    keyframes of an earlier walk are replaced; style mixing is turned off"""

    bl_idname = "lathe.keyframe_walk"
    bl_label = "Keyframe Walk"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return actions.problem_latent(context)

    def run(self, context):
        first, last = actions.keyframe_walk(context)
        self.report({"INFO"}, f"The walk takes frames {first} to {last}")


class LATHE_OT_clear_walk(Pressed, bpy.types.Operator):
    """Remove the keyframes of seeds, mixes and layers"""

    bl_idname = "lathe.clear_walk"
    bl_label = "Clear Walk"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return "" if latents.is_walking(subject(context).settings) else "There are no keyframes of the seeds"

    def run(self, context):
        latents.clear_walk(subject(context).settings)


class LATHE_OT_walk_favourites(Pressed, bpy.types.Operator):
    """Let the walk visit the seeds of this model's favourites"""

    bl_idname = "lathe.walk_favourites"
    bl_label = "From Favourites"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        known = latents.favourite_seeds(context.scene, subject(context).settings.model)
        return "" if len(known) > 1 else "Star two latents of this model in the history first"

    def run(self, context):
        seeds = latents.favourite_seeds(context.scene, subject(context).settings.model)
        context.scene.lathe.walk.seeds = ", ".join(map(str, seeds))


_kinds = []  # Blender does not keep the texts of a dynamic list


def _kind_items(_self, _context):
    _kinds[:] = [("AUTO", "Automatic", "As the file tells"), *((kind, kind, "") for kind in session.kinds)]
    return _kinds


class LATHE_OT_import_checkpoint(Pressed, bpy.types.Operator):
    """Import an official checkpoint, a file or a folder. No code in it is run; it becomes a model of the list above"""

    bl_idname = "lathe.import_checkpoint"
    bl_label = "Import Checkpoint"

    filepath: StringProperty(
        name="Checkpoint", description="A file or a folder", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )
    filter_glob: StringProperty(default=importing.FILTER + ";*.data-*", options={"HIDDEN"})
    name: StringProperty(
        name="Name",
        description="Name of the model: letters, digits, '.', '-' and '_'. Empty takes the file's; an imported model "
        "of the name given here is replaced",
        options={"SKIP_SAVE"},
    )
    kind: EnumProperty(
        name="Architecture",
        description="What the checkpoint is, where the file does not tell",
        items=_kind_items,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def problem(cls, context):
        return importing.problem_import(context)

    def invoke(self, context, event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "name")
        layout.prop(self, "kind")
        layout.label(text="Choose a file, or go into a folder", icon="INFO")

    def run(self, context):
        importing.import_checkpoint(context, self.filepath, self.name, "" if self.kind == "AUTO" else self.kind)


CLASSES = (
    LATHE_OT_variants,
    LATHE_OT_use_latent,
    LATHE_OT_star_latent,
    LATHE_OT_clear_history,
    LATHE_OT_swap_seeds,
    LATHE_OT_clear_layers,
    LATHE_OT_reset_view,
    LATHE_OT_add_latent,
    LATHE_OT_keyframe_walk,
    LATHE_OT_clear_walk,
    LATHE_OT_walk_favourites,
    LATHE_OT_import_checkpoint,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
