"""The buttons. Each says in its poll message what to do when it cannot be pressed; the work is in `actions`."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from . import actions, fitting, gather
from .session import session
from .wire import errors


class Pressed:
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
        actions.redraw(context)
        return {"FINISHED"}


# -------------------------------------------------------------------------------------------------------------- backend


class LATHE_OT_set_up(Pressed, bpy.types.Operator):
    """Download PyTorch and the other packages of the backend into a folder of this extension. Goes on where it
    stopped if it was interrupted"""

    bl_idname = "lathe.set_up"
    bl_label = "Set Up"

    @classmethod
    def problem(cls, context):
        return actions.problem_set_up(context)

    def run(self, context):
        actions.set_up(context)


class LATHE_OT_start_backend(Pressed, bpy.types.Operator):
    """Start the backend process"""

    bl_idname = "lathe.start_backend"
    bl_label = "Start"

    @classmethod
    def problem(cls, context):
        return actions.problem_start(context)

    def run(self, context):
        actions.start_backend(context)


class LATHE_OT_stop_backend(Pressed, bpy.types.Operator):
    """End the backend process and free its memory. Running jobs are cancelled"""

    bl_idname = "lathe.stop_backend"
    bl_label = "Stop"

    @classmethod
    def problem(cls, context):
        return "" if session.state in ("ready", "starting") else "The backend is not running"

    def run(self, context):
        actions.stop_backend(context)


class LATHE_OT_restart_backend(Pressed, bpy.types.Operator):
    """End the backend process if it runs, and start it"""

    bl_idname = "lathe.restart_backend"
    bl_label = "Restart"

    @classmethod
    def problem(cls, context):
        return actions.problem_python(context)

    def run(self, context):
        actions.restart_backend(context)


class LATHE_OT_doctor(Pressed, bpy.types.Operator):
    """Check Python, PyTorch, device, disk, permissions and versions, and say what to do about each fault"""

    bl_idname = "lathe.doctor"
    bl_label = "Check"

    @classmethod
    def problem(cls, context):
        return "The check is running" if session.jobs.find("doctor") else ""

    def run(self, context):
        actions.check(context)


class LATHE_OT_choose_python(bpy.types.Operator):
    """Use a Python that already has the backend's packages in place of the one that Set Up makes"""

    bl_idname = "lathe.choose_python"
    bl_label = "Choose Python"

    filepath: StringProperty(name="Python", description="The Python program", subtype="FILE_PATH")

    def invoke(self, context, event):
        self.filepath = actions.preferences(context).python
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        if not Path(bpy.path.abspath(self.filepath)).is_file():
            self.report({"ERROR"}, f"There is no file {self.filepath}: choose the python program itself")
            return {"CANCELLED"}
        actions.preferences(context).python = self.filepath
        return {"FINISHED"}


class LATHE_OT_open_log(Pressed, bpy.types.Operator):
    """Show the end of the log in Blender's text editor, as the text 'Lathe Log'"""

    bl_idname = "lathe.open_log"
    bl_label = "Open Log"

    @classmethod
    def problem(cls, context):
        return "" if actions.log_files(context) else "There is no log yet: it is written when the backend starts"

    def run(self, context):
        actions.open_log(context)
        self.report({"INFO"}, "The log is in the text 'Lathe Log'")


# ---------------------------------------------------------------------------------------------------------------- model


class LATHE_OT_refresh_models(Pressed, bpy.types.Operator):
    """Read the list of models again"""

    bl_idname = "lathe.refresh_models"
    bl_label = "Refresh Models"

    @classmethod
    def problem(cls, context):
        return actions.problem_python(context)

    def run(self, context):
        actions.refresh_models(context)


class LATHE_OT_choose_model(Pressed, bpy.types.Operator):
    """Make shapes with this model"""

    bl_idname = "lathe.choose_model"
    bl_label = "Choose Model"
    bl_options = {"REGISTER", "UNDO"}

    model: StringProperty(name="Model", description="Name of the model", options={"SKIP_SAVE"})

    @classmethod
    def description(cls, context, properties):
        info = session.models.get(properties.model)
        return info.description if info else cls.__doc__

    @classmethod
    def problem(cls, context):
        return "" if session.models else "No models are known: start the backend"

    def run(self, context):
        actions.choose_model(context, self.model)


class LATHE_OT_show_card(Pressed, bpy.types.Operator):
    """Show the model's card: data, recipe, licence and figures"""

    bl_idname = "lathe.show_card"
    bl_label = "Model Card"

    @classmethod
    def problem(cls, context):
        return actions.problem_model(context)

    def invoke(self, context, event):
        return context.window_manager.invoke_popup(self, width=520)

    def draw(self, context):
        actions.draw_card(self.layout, context)

    def run(self, context):
        pass


class LATHE_OT_randomize_seeds(Pressed, bpy.types.Operator):
    """Roll both seeds"""

    bl_idname = "lathe.randomize_seeds"
    bl_label = "Random Seeds"
    bl_options = {"REGISTER", "UNDO"}

    def run(self, context):
        actions.randomize_seeds(context)


class LATHE_OT_take_latent(Pressed, bpy.types.Operator):
    """Copy model, latent and mesh settings of the active generated object to the settings of new shapes"""

    bl_idname = "lathe.take_latent"
    bl_label = "Use for New Shapes"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return "" if actions.generated_object(context) else "Select an object that was generated here"

    def run(self, context):
        actions.take_latent(context)


# ------------------------------------------------------------------------------------------------------- image and mesh


class LATHE_OT_preview(Pressed, bpy.types.Operator):
    """Render the shape through sliders, camera or viewport into the image 'Lathe Preview'"""

    bl_idname = "lathe.preview"
    bl_label = "Render Preview"

    @classmethod
    def problem(cls, context):
        return actions.problem_preview(context)

    def run(self, context):
        actions.preview(context)


class LATHE_OT_generate_mesh(Pressed, bpy.types.Operator):
    """Make a mesh of the shape and put it in the scene"""

    bl_idname = "lathe.generate_mesh"
    bl_label = "Generate Mesh"

    @classmethod
    def problem(cls, context):
        return actions.problem_mesh(context)

    def run(self, context):
        actions.generate_mesh(context)


class LATHE_OT_add_camera(Pressed, bpy.types.Operator):
    """Add a camera where the sliders of the view look from, which is how the model was trained unless they were moved,
    and make it the active one"""

    bl_idname = "lathe.add_camera"
    bl_label = "Add Camera"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return actions.problem_model(context) or actions.problem_object_mode(context)

    def run(self, context):
        actions.add_camera(context)


class LATHE_OT_render_path(Pressed, bpy.types.Operator):
    """Render the shape over the scene's frame range into PNG files with alpha, through the active camera or the
    sliders"""

    bl_idname = "lathe.render_path"
    bl_label = "Render Path"

    @classmethod
    def problem(cls, context):
        return actions.problem_path(context)

    def run(self, context):
        actions.render_path(context)
        self.report({"INFO"}, f"The frames are written to {actions.path_folder(context)}")


class LATHE_OT_choose_folder(bpy.types.Operator):
    """Choose the folder that frames or data sets are written to"""

    bl_idname = "lathe.choose_folder"
    bl_label = "Choose Folder"

    directory: StringProperty(name="Folder", description="Where the files are written", subtype="DIR_PATH")
    what: EnumProperty(
        name="What",
        description="Which folder",
        items=(("PATH", "Camera Path", "Of the camera path's frames"), ("DATA_SETS", "Data Sets", "Of captures")),
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def invoke(self, context, event):
        directory = context.scene.lathe.field.data_sets
        self.directory = str(actions.path_folder(context) if self.what == "PATH" else actions.own_folder(directory))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context):
        if self.what == "PATH":
            context.scene.lathe.path.directory = self.directory
        else:
            context.scene.lathe.field.data_sets = self.directory
        return {"FINISHED"}


class LATHE_OT_complete(Pressed, bpy.types.Operator):
    """Find the model's shape that fits the active object's points, and mesh it in the same place. In Edit Mode only
    the selected points count. The object's own coordinates are the model's: Z up, at the model's size"""

    bl_idname = "lathe.complete"
    bl_label = "Complete Scan"

    @classmethod
    def problem(cls, context):
        return actions.problem_complete(context)

    def run(self, context):
        actions.complete(context)


class LATHE_OT_fit_shape(Pressed, bpy.types.Operator):
    """Train a network on the active mesh; it becomes a model of its own"""

    bl_idname = "lathe.fit_shape"
    bl_label = "Fit This Mesh"

    @classmethod
    def problem(cls, context):
        return actions.problem_fit(context)

    def run(self, context):
        actions.fit_shape(context)


# --------------------------------------------------------------------------------------------------------------- fields


class LATHE_OT_capture(Pressed, bpy.types.Operator):
    """Render the scene from all sides as a data set. Esc ends it; pressed again it goes on where it stopped"""

    bl_idname = "lathe.capture"
    bl_label = "Capture"

    @classmethod
    def problem(cls, context):
        return fitting.problem_capture(context)

    def run(self, context):
        fitting.capture(context)
        self.report({"INFO"}, f"The pictures are written to {fitting.data_set_folder(context)}")


class LATHE_OT_find_cameras(Pressed, bpy.types.Operator):
    """Find where photographs, or the frames of a video, were taken from; show the cameras in the scene"""

    bl_idname = "lathe.find_cameras"
    bl_label = "Find Cameras"

    @classmethod
    def problem(cls, context):
        return fitting.problem_find_cameras(context)

    def run(self, context):
        fitting.find_cameras(context)


class LATHE_OT_fit(Pressed, bpy.types.Operator):
    """Fit a radiance field to the pictures. It appears in the scene as a box that can be moved and meshed"""

    bl_idname = "lathe.fit"
    bl_label = "Fit"

    @classmethod
    def problem(cls, context):
        return fitting.problem_fit(context)

    def run(self, context):
        fitting.fit(context)


class LATHE_OT_pause_fit(Pressed, bpy.types.Operator):
    """Pause the fit: what was learned is kept, also beyond this session, and the fit can be continued"""

    bl_idname = "lathe.pause_fit"
    bl_label = "Pause"

    @classmethod
    def problem(cls, context):
        return fitting.problem_running(context)

    def run(self, context):
        fitting.pause(context)


class LATHE_OT_cancel_fit(Pressed, bpy.types.Operator):
    """End the fit for good: it cannot be continued. A field that was kept already stays"""

    bl_idname = "lathe.cancel_fit"
    bl_label = "Cancel"

    @classmethod
    def problem(cls, context):
        return fitting.problem_running(context)

    def run(self, context):
        fitting.cancel(context)


class LATHE_OT_continue_fit(Pressed, bpy.types.Operator):
    """Go on with this fit where it was paused or cut off; one that came to its end goes further"""

    bl_idname = "lathe.continue_fit"
    bl_label = "Continue"

    field: StringProperty(name="Field", description="Name of the fit; empty is the first", options={"SKIP_SAVE"})

    @classmethod
    def problem(cls, context):
        return fitting.problem_continue(context) or fitting.problem_stored()

    def run(self, context):
        fitting.continue_fit(context, self.field or fitting.stored_fits()[0].name)


class LATHE_OT_discard_fit(Pressed, bpy.types.Operator):
    """Throw away what is needed to go on with this fit. The field itself stays"""

    bl_idname = "lathe.discard_fit"
    bl_label = "Discard"

    field: StringProperty(name="Field", description="Name of the fit; empty is the first", options={"SKIP_SAVE"})

    @classmethod
    def problem(cls, context):
        return actions.problem_python(context) or fitting.problem_stored()

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)

    def run(self, context):
        fitting.discard(context, self.field or fitting.stored_fits()[0].name)


class LATHE_OT_add_field(Pressed, bpy.types.Operator):
    """Put the chosen radiance field into the scene, where its pictures were taken"""

    bl_idname = "lathe.add_field"
    bl_label = "Add Field"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return fitting.problem_add_field(context)

    def run(self, context):
        fitting.add_field(context.scene, context.scene.lathe.model)


class LATHE_OT_reset_crop(Pressed, bpy.types.Operator):
    """Let the crop box be the field's whole box"""

    bl_idname = "lathe.reset_crop"
    bl_label = "Reset Crop"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def problem(cls, context):
        return "" if gather.field_object(context) else "Select a field"

    def run(self, context):
        actions.reset_crop(context)


class LATHE_OT_export(Pressed, bpy.types.Operator):
    """Write the selected generated objects to a file, with Blender's own exporters"""

    bl_idname = "lathe.export"
    bl_label = "Export Shape"

    filepath: StringProperty(name="File", description="Where to write", subtype="FILE_PATH", options={"SKIP_SAVE"})
    format: EnumProperty(
        name="Format",
        description="File format; empty takes the one chosen in the tab",
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
    def problem(cls, context):
        return actions.problem_export(context)

    def invoke(self, context, event):
        if not self.filepath:
            self.filepath = actions.export_path(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def run(self, context):
        chosen = context.scene.lathe.export.format if self.format == "SCENE" else self.format
        written = actions.export(context, self.filepath or actions.export_path(context), chosen)
        self.report({"INFO"}, f"Wrote {written}")


# ----------------------------------------------------------------------------------------------------------------- jobs


class LATHE_OT_cancel_job(Pressed, bpy.types.Operator):
    """Cancel this job (Esc cancels all but Set Up and fits)"""

    bl_idname = "lathe.cancel_job"
    bl_label = "Cancel"

    number: IntProperty(name="Job", description="Number of the job; 0 is the newest", options={"SKIP_SAVE"})

    @classmethod
    def problem(cls, context):
        return "" if session.jobs.active else "No job is running"

    def run(self, context):
        job = session.jobs.by_number(self.number) if self.number else session.jobs.active[-1]
        if job:
            job.cancel()


class LATHE_OT_cancel_all(Pressed, bpy.types.Operator):
    """Cancel every running job except Set Up and fits, which have a button of their own"""

    bl_idname = "lathe.cancel_all"
    bl_label = "Cancel All"

    @classmethod
    def problem(cls, context):
        return "" if any(job.kind not in session.jobs.LONG for job in session.jobs.active) else "No job is running"

    def run(self, context):
        session.jobs.cancel_all(keep=session.jobs.LONG)


class LATHE_OT_dismiss_error(Pressed, bpy.types.Operator):
    """Hide the last error"""

    bl_idname = "lathe.dismiss_error"
    bl_label = "Dismiss"

    @classmethod
    def problem(cls, context):
        return "" if session.jobs.failed else "There is no error"

    def run(self, context):
        session.jobs.dismiss()


class LATHE_OT_dismiss_findings(Pressed, bpy.types.Operator):
    """Hide what the check found"""

    bl_idname = "lathe.dismiss_findings"
    bl_label = "Dismiss"

    @classmethod
    def problem(cls, context):
        return "" if session.findings else "There is nothing to hide"

    def run(self, context):
        session.findings = []


class LATHE_OT_apply_remedy(Pressed, bpy.types.Operator):
    """Do what helps against the last error"""

    bl_idname = "lathe.apply_remedy"
    bl_label = "Apply Remedy"

    action: StringProperty(name="Action", description="What to do", options={"SKIP_SAVE"})
    value: StringProperty(name="Value", description="With what value", options={"SKIP_SAVE"})

    def run(self, context):
        actions.apply_remedy(context, self.action, self.value)


CLASSES = (
    LATHE_OT_set_up,
    LATHE_OT_start_backend,
    LATHE_OT_stop_backend,
    LATHE_OT_restart_backend,
    LATHE_OT_doctor,
    LATHE_OT_choose_python,
    LATHE_OT_open_log,
    LATHE_OT_refresh_models,
    LATHE_OT_choose_model,
    LATHE_OT_show_card,
    LATHE_OT_randomize_seeds,
    LATHE_OT_take_latent,
    LATHE_OT_preview,
    LATHE_OT_generate_mesh,
    LATHE_OT_add_camera,
    LATHE_OT_render_path,
    LATHE_OT_choose_folder,
    LATHE_OT_complete,
    LATHE_OT_fit_shape,
    LATHE_OT_capture,
    LATHE_OT_find_cameras,
    LATHE_OT_fit,
    LATHE_OT_pause_fit,
    LATHE_OT_cancel_fit,
    LATHE_OT_continue_fit,
    LATHE_OT_discard_fit,
    LATHE_OT_add_field,
    LATHE_OT_reset_crop,
    LATHE_OT_export,
    LATHE_OT_cancel_job,
    LATHE_OT_cancel_all,
    LATHE_OT_dismiss_error,
    LATHE_OT_dismiss_findings,
    LATHE_OT_apply_remedy,
)

register, unregister = bpy.utils.register_classes_factory(CLASSES)
