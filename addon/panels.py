"""The tab "Lathe" in the sidebar of the 3D viewport. Knows no model: what it shows is drawn from ModelInfo."""

import bpy

from . import actions, apply, fitting, latent_panels, pictures
from .gather import field_object, generated_object, is_field, subject
from .session import session

STATE_ICONS = {
    "not_set_up": "IMPORT",
    "off": "RADIOBUT_OFF",
    "starting": "SORTTIME",
    "ready": "RADIOBUT_ON",
    "stopping": "SORTTIME",
    "died": "ERROR",
    "failed": "ERROR",
}
VERDICT_ICONS = {"ok": "CHECKMARK", "warning": "ERROR", "fault": "CANCEL"}
REMEDY_LABEL = "What to Do"


def text_lines(layout, text, width, icon="NONE"):
    """Draw a long sentence as several labels, since labels do not wrap."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    characters = max(16, int(width / (7 * bpy.context.preferences.system.ui_scale)))
    for index, line in enumerate(actions.wrapped(bpy.app.translations.pgettext_rpt(text), characters)):
        column.label(text=line, icon=icon if index == 0 else "BLANK1" if icon != "NONE" else "NONE", translate=False)
    return column


def remedy_button(layout, remedy):
    """Draw the button that an error's remedy is."""
    if remedy is not None and remedy.action in actions.REMEDIES:
        button = layout.operator("lathe.apply_remedy", text=remedy.label or REMEDY_LABEL, icon="TOOL_SETTINGS")
        button.action = remedy.action
        button.value = "" if remedy.value is None else str(remedy.value)


class LathePanel:
    """What all panels share."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Lathe"


class LATHE_PT_backend(LathePanel, bpy.types.Panel):
    bl_label = "Backend"

    def draw(self, context):
        layout = self.layout
        state = session.state
        width = context.region.width if context.region else 260
        column = text_lines(layout, session.line, width, STATE_ICONS[state])
        column.alert = state in ("died", "failed")
        server = session.server
        if state == "ready" and actions.device_changed(context):
            text_lines(layout, "Restart to compute on the device that you chose", width, "INFO")
        if server:
            used, total = server.memory_used / 2**30, server.memory_total / 2**30
            memory = f"{used:.1f} of {total:.0f} GB"
            layout.progress(factor=min(used / max(total, 1e-9), 1.0), type="BAR", text=memory)
            if server.device_memory_total:
                used, total = server.device_memory_used / 2**30, server.device_memory_total / 2**30
                layout.progress(factor=min(used / total, 1.0), type="BAR", text=f"GPU {used:.1f} of {total:.0f} GB")
        row = layout.row(align=True)
        if state == "not_set_up":
            row.operator("lathe.set_up", icon="IMPORT")
        elif state in ("ready", "starting", "stopping"):
            row.operator("lathe.stop_backend", icon="PAUSE")
            row.operator("lathe.restart_backend", text="", icon="FILE_REFRESH")
        elif state in ("died", "failed"):
            row.operator("lathe.restart_backend", icon="FILE_REFRESH")
            if session.reason and session.reason.remedy and session.reason.remedy.action != "restart_backend":
                remedy_button(layout, session.reason.remedy)
        else:
            row.operator("lathe.start_backend", icon="PLAY")
        row = layout.row(align=True)
        row.operator("lathe.doctor", icon="VIEWZOOM")
        row.operator("lathe.open_log", icon="TEXT")


class LATHE_PT_set_up(LathePanel, bpy.types.Panel):
    bl_label = "Set Up"
    bl_parent_id = "LATHE_PT_backend"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        chosen = actions.preferences(context)
        if session.state != "not_set_up":  # else the button is right above
            layout.operator("lathe.set_up", icon="IMPORT")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(chosen, "device")
        column.prop(chosen, "torch_build")
        column.prop(chosen, "wheels")
        column.prop(chosen, "python", text="Own Python")
        layout.operator("lathe.choose_python", text="Choose an Existing Python", icon="FILE_FOLDER")


class LATHE_PT_findings(LathePanel, bpy.types.Panel):
    bl_label = "Check"
    bl_parent_id = "LATHE_PT_backend"

    @classmethod
    def poll(cls, context):
        return bool(session.findings)

    def draw(self, context):
        width = context.region.width if context.region else 260
        row = self.layout.row()
        row.alignment = "RIGHT"
        row.operator("lathe.dismiss_findings", text="", icon="X", emboss=False)
        for finding in session.findings:
            box = self.layout.column()
            column = text_lines(box, f"{finding.name}: {finding.text}", width, VERDICT_ICONS[finding.verdict])
            column.alert = finding.verdict == "fault"
            remedy_button(box, finding.remedy)


class LATHE_MT_model(bpy.types.Menu):
    bl_label = "Model"

    def draw(self, context):
        for name, info in session.models.items():
            icon = "LOCKED" if info.non_commercial else "NONE"
            self.layout.operator("lathe.choose_model", text=info.label, icon=icon, translate=False).model = name


class LATHE_PT_model(LathePanel, bpy.types.Panel):
    bl_label = "Model"

    def draw(self, context):
        layout = self.layout
        if generated_object(context) is not None:
            layout.row().prop(context.scene.lathe, "target", expand=True)
        chosen = subject(context)
        info = chosen.info
        row = layout.row(align=True)
        name = info.label if info else chosen.settings.model or "None"
        if field_object(context) is not None:
            row.label(text=name, icon="MESH_CUBE", translate=False)
        else:
            row.menu("LATHE_MT_model", text=name, icon="NETWORK_DRIVE")
        row.operator("lathe.refresh_models", text="", icon="FILE_REFRESH")
        row.operator("lathe.show_card", text="", icon="INFO")
        layout.operator("lathe.import_checkpoint", icon="IMPORT")
        width = context.region.width if context.region else 260
        if info:
            column = text_lines(layout, f"Licence: {info.licence}", width)
            if info.non_commercial:
                column.alert = True
                column.label(text="Not for commercial use", icon="ERROR")
        if is_field(info) and chosen.object is None:
            layout.operator("lathe.add_field", icon="MESH_CUBE")
        for broken in session.broken_models:
            text_lines(layout, f"{broken.name}: {broken.error.message}", width, "ERROR").alert = True
        if chosen.object is not None and not chosen.object.lathe.is_field:
            layout.operator("lathe.take_latent", icon="COPYDOWN")


class LATHE_PT_crop(LathePanel, bpy.types.Panel):
    bl_label = "Crop"
    bl_parent_id = "LATHE_PT_model"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return field_object(context) is not None

    def draw_header(self, context):
        self.layout.prop(field_object(context).lathe, "use_crop", text="")

    def draw(self, context):
        lathe = field_object(context).lathe
        layout = self.layout
        layout.active = lathe.use_crop
        layout.use_property_split = True
        layout.column().prop(lathe, "crop_min")
        layout.column().prop(lathe, "crop_max")
        layout.operator("lathe.reset_crop", icon="LOOP_BACK")


class LATHE_PT_preview(LathePanel, bpy.types.Panel):
    bl_label = "Preview"

    def draw(self, context):
        layout = self.layout
        settings = context.scene.lathe.preview
        row = layout.row(align=True)
        row.operator("lathe.preview", icon="RENDER_STILL")
        row.prop(settings, "live", text="", icon="PLAY", toggle=True)
        sketch = (apply.DEPTH_IMAGE, apply.SILHOUETTE_IMAGE) if settings.sketch else ()
        images = [bpy.data.images.get(name) for name in (apply.PREVIEW_IMAGE, *sketch)]
        if images[0] is not None:
            row = layout.row()
            for image in images:
                if image is not None and image.preview is not None:
                    row.template_icon(icon_value=image.preview.icon_id, scale=4 if sketch else 8)
            if session.preview_note:
                text_lines(layout, session.preview_note, context.region.width if context.region else 260, "INFO")
        layout.row().prop(settings, "source", expand=True)
        if settings.source == "SLIDERS":
            latent_panels.draw_view(layout, context)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "size")
        column.prop(settings, "show")
        column.prop(settings, "sketch")
        layout.operator("lathe.add_camera", icon="CAMERA_DATA")


class LATHE_PT_mesh(LathePanel, bpy.types.Panel):
    bl_label = "Mesh"

    def draw(self, context):
        layout = self.layout
        chosen = subject(context)
        info, settings = chosen.info, chosen.settings.mesh
        if info is not None and not info.has_surface:
            text_lines(layout, info.no_surface_reason, context.region.width if context.region else 260, "INFO")
            if not is_field(info):
                column = layout.column(align=True)
                column.operator("lathe.fit_views", icon="MOD_FLUIDSIM")
                column.prop(context.scene.lathe.field, "views")
            layout.operator("lathe.add_latent", icon="EMPTY_AXIS")
            return
        made = chosen.object
        if made is not None and made.lathe.is_field:
            made = actions.mesh_of_field(made)
        again = made is not None
        layout.operator("lathe.generate_mesh", text="Mesh Again" if again else "Generate Mesh", icon="MESH_MONKEY")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        if chosen.object is None:
            column.row().prop(settings, "placement", expand=True)
        column.prop(settings, "resolution")
        row = column.row(heading="Level")
        row.prop(settings, "use_level", text="")
        level = row.row()
        level.active = settings.use_level
        level.prop(settings, "level", text="")
        if info is not None and info.quantity == "density":
            row = column.row(align=True)
            row.prop(settings, "level_slider", text=" ", slider=True)
            if chosen.object is not None:
                row.prop(settings, "live", text="", icon="PLAY", toggle=True)
        column.prop(settings, "target_faces")
        column.prop(settings, "minimum_component")
        column.prop(settings, "fill_holes")
        if info is not None and info.quantity == "density":
            column.prop(settings, "smoothing")
        column.prop(settings, "smooth_normals")
        if info is None or info.has_color:
            column.prop(settings, "color")
            if settings.color == "TEXTURE":
                column.prop(settings, "texture_size")


class LATHE_PT_fit(LathePanel, bpy.types.Panel):
    """Radiance fields of pictures"""

    bl_label = "Fit"

    def draw(self, context):
        layout = self.layout
        settings, width = context.scene.lathe.field, context.region.width if context.region else 260
        job = session.jobs.find("field")
        if job is not None:
            self.draw_running(layout, job, width)
            return
        layout.row().prop(settings, "source", expand=True)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        if settings.source == "SCENE":
            capture = context.scene.lathe.capture
            column.prop(capture, "target")
            column.prop(capture, "rig")
            column.prop(capture, "count")
            column.prop(capture, "size")
            layout.operator("lathe.capture", icon="OUTLINER_DATA_CAMERA")
        elif settings.source == "PHOTOS":
            column.prop(settings, "photos")
            column.prop(settings, "max_images")
            layout.operator("lathe.find_cameras", icon="OUTLINER_OB_CAMERA")
            for line in fitting.report_lines():
                text_lines(layout, line, width)
        else:
            column.prop(settings, "folder")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "name", placeholder=fitting.field_name(context))
        column.prop(settings, "preset")
        layout.operator("lathe.fit", icon="MOD_FLUIDSIM")
        if any(stored.name == fitting.field_name(context) for stored in fitting.stored_fits()):
            text_lines(layout, "Fit begins anew; Continue goes on with what is there", width, "INFO")
        self.draw_stored(layout, width)
        for line in session.warnings:
            text_lines(layout, line, width, "ERROR")

    def draw_running(self, layout, job, width):
        """Draw the fit that is running."""
        layout.label(text=job.label, icon="MOD_FLUIDSIM", translate=False)
        layout.progress(factor=job.fraction, type="BAR", text=job.text)
        column = layout.column(align=True)
        column.scale_y = 0.8
        for line in fitting.figures_text(job.figures):
            column.label(text=line, translate=False)
        row = layout.row(align=True)
        row.operator("lathe.pause_fit", icon="PAUSE")
        row.operator("lathe.cancel_fit", icon="X")
        image = bpy.data.images.get(fitting.FIT_IMAGE)
        if image is not None and image.preview is not None:
            layout.template_icon(icon_value=image.preview.icon_id, scale=8)

    def draw_stored(self, layout, width):
        """Draw the fits that can go on."""
        for stored in fitting.stored_fits():
            box = layout.box()
            what = f"{stored.name}: {stored.steps} steps, {stored.seconds:.0f} s" if stored.steps else stored.name
            if stored.psnr is not None:
                what += f", {stored.psnr:.1f} dB"
            text_lines(box, what, width, "CHECKMARK" if stored.finished else "PAUSE")
            row = box.row(align=True)
            row.operator("lathe.continue_fit", icon="PLAY").field = stored.name
            row.operator("lathe.discard_fit", text="", icon="TRASH").field = stored.name


class LATHE_PT_capture(LathePanel, bpy.types.Panel):
    bl_label = "Capture"
    bl_parent_id = "LATHE_PT_fit"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context):
        return context.scene.lathe.field.source == "SCENE"

    def draw(self, context):
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        settings = context.scene.lathe.capture
        names = ["test", "fill", "transparent", "depth", "normal", "mask", "seed", "overwrite"]
        for name in ["elevation", *names] if settings.rig == "ORBIT" else names:
            column.prop(settings, name)
        column.prop(context.scene.lathe.field, "data_sets")
        width = context.region.width if context.region else 260
        text_lines(column, str(fitting.data_set_folder(context)), width, "INFO")


class LATHE_PT_fit_options(LathePanel, bpy.types.Panel):
    bl_label = "Options"
    bl_parent_id = "LATHE_PT_fit"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        settings = context.scene.lathe.field
        for name in (
            "method", "seconds", "steps", "more_seconds", "background", "color_space", "unbounded", "use_masks",
            "depth_weight", "refine_poses", "appearance", "near", "distortion_weight", "opacity_weight", "flip_axes",
            "seed",
        ):  # fmt: skip
            column.prop(settings, name)
        if settings.source == "PHOTOS":
            column.prop(settings, "max_size")
            column.prop(settings, "data_sets")


class LATHE_PT_picture(LathePanel, bpy.types.Panel):
    """Shapes and textures of pictures"""

    bl_label = "From a Picture"

    @classmethod
    def poll(cls, context):
        info = subject(context).info
        return info is not None and not {"image_to_shape", "transfer_texture"}.isdisjoint(info.capabilities)

    def draw(self, context):
        layout = self.layout
        known = subject(context).info.capabilities
        if "image_to_shape" in known:
            layout.operator("lathe.image_to_shape", icon="IMAGE_DATA")
        if "transfer_texture" in known:
            layout.operator("lathe.take_texture", icon="TEXTURE")
        image = bpy.data.images.get(pictures.PICTURE_IMAGE)
        if image is not None and image.preview is not None:
            layout.template_icon(icon_value=image.preview.icon_id, scale=4)
        for note in session.notes:
            text_lines(layout, note, context.region.width if context.region else 260, "INFO")


class LATHE_PT_scan(LathePanel, bpy.types.Panel):
    bl_label = "From a Mesh"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        lathe = context.scene.lathe
        info = subject(context).info
        if info is not None and "complete" in info.capabilities:
            layout.operator("lathe.complete", icon="MOD_MESHDEFORM")
            layout.operator("lathe.complete_depth", icon="IMAGE_ZDEPTH")
            column = layout.column()
            column.use_property_split = True
            column.use_property_decorate = False
            column.prop(lathe.complete, "iterations")
            column.prop(lathe.complete, "seed")
            layout.separator()
        layout.operator("lathe.fit_shape", icon="MOD_SHRINKWRAP")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(lathe.fit, "name")
        column.prop(lathe.fit, "steps")
        column.prop(lathe.fit, "preset")
        column.prop(lathe.fit, "seed")


class LATHE_PT_path(LathePanel, bpy.types.Panel):
    bl_label = "Camera Path"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        scene = context.scene
        layout.operator("lathe.render_path", icon="RENDER_ANIMATION")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.row().prop(scene.lathe.path, "source", expand=True)
        column.prop(scene.lathe.path, "directory")
        if scene.lathe.path.directory.startswith("//") and not bpy.data.filepath:
            width = context.region.width if context.region else 260
            text_lines(column, f"The file is not saved: {actions.path_folder(context)}", width, "INFO")
        column.prop(scene.lathe.path, "overwrite")
        column.prop(scene.lathe.path, "quality")
        row = column.row(align=True)
        row.prop(scene, "frame_start", text="Frames")
        row.prop(scene, "frame_end", text="")


class LATHE_PT_export(LathePanel, bpy.types.Panel):
    bl_label = "Export"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        row = layout.row(align=True)
        row.prop(context.scene.lathe.export, "format", text="")
        row.operator("lathe.export", icon="EXPORT")


class LATHE_PT_jobs(LathePanel, bpy.types.Panel):
    """What is running; Esc cancels it"""

    bl_label = "Jobs"

    def draw(self, context):
        layout = self.layout
        width = context.region.width if context.region else 260
        failed = session.jobs.failed
        if failed is not None and failed.error is not None:
            box = layout.box()
            row = box.row()
            row.alert = True
            row.label(text=failed.label, icon="ERROR", translate=False)
            row.operator("lathe.dismiss_error", text="", icon="X", emboss=False)
            text_lines(box, failed.error.message, width).alert = True
            remedy_button(box, failed.error.remedy)
        active = session.jobs.active
        for job in active:
            column = layout.column(align=True)
            row = column.row(align=True)
            text = "Cancelling …" if job.cancelling else job.text or job.label
            row.progress(factor=job.fraction, type="BAR", text=text)
            row.operator("lathe.cancel_job", text="", icon="X").number = job.number
        if len(active) > 1:
            layout.operator("lathe.cancel_all", icon="CANCEL")
        if active or failed is not None:
            return
        # One line in place of the bar, so that the buttons below stay where they are.
        last = next((job for job in reversed(session.jobs.all) if job.ended and not job.quiet), None)
        if last is None:
            layout.label(text="Nothing is running")
        else:
            icon = "CHECKMARK" if last.state == "done" else "X"
            layout.label(text=f"{last.label} ({last.seconds:.1f} s)", icon=icon, translate=False)


CLASSES = (
    LATHE_MT_model,
    LATHE_PT_jobs,
    LATHE_PT_backend,
    LATHE_PT_set_up,
    LATHE_PT_findings,
    LATHE_PT_model,
    LATHE_PT_crop,
    *latent_panels.CLASSES,
    LATHE_PT_preview,
    LATHE_PT_mesh,
    LATHE_PT_fit,
    LATHE_PT_capture,
    LATHE_PT_fit_options,
    LATHE_PT_picture,
    LATHE_PT_scan,
    LATHE_PT_path,
    LATHE_PT_export,
)
for _order, _cls in enumerate(CLASSES):
    if issubclass(_cls, bpy.types.Panel):
        _cls.bl_order = _order

register, unregister = bpy.utils.register_classes_factory(CLASSES)
