"""Panels of a shape: latent, style mixing, variants, history, walk, mesh, scan, export.

Which of them are drawn, and with which sliders, follows from ModelInfo alone.
"""

from typing import Any

import bpy

from ..link.session import session
from ..scene import gather, thumbnails
from ..scene.gather import is_field, subject
from ..translations import translated
from ..ui.layout import LathePanel, button, settings_column, text_lines
from ..wire.messages import ModelInfo
from . import actions, latents

COLUMNS = 4  # of the sheet of variants
CELL = 3.2  # size of its images, in button heights
LAYER_COLUMNS = 8


def has_latents(context: Any) -> bool:
    """Return whether the subject is the shape of a generator."""
    info = subject(context).info
    return info is not None and not is_field(info)


def seed_labels(info: ModelInfo) -> tuple[str, str]:
    """Return the labels of seed A and seed B."""
    names = info.code_names
    if len(names) != 2:
        return "Seed A", "Seed B"
    return translated("{name} Seed", name=names[0]), translated("{name} Seed", name=names[1])


def mix_labels(info: ModelInfo) -> tuple[str, ...]:
    """Return the labels of the mixes."""
    if not gather.is_separate(info):
        return ("Mix",)
    names = info.code_names
    if len(names) != 2:
        return "Mix Geometry", "Mix Appearance"
    return translated("Mix {name}", name=names[0]), translated("Mix {name}", name=names[1])


class LatentPanel(LathePanel):
    """Base of the panels that need a latent."""

    @classmethod
    def poll(cls, context: Any) -> bool:
        return has_latents(context)


class LATHE_PT_latent(LatentPanel, bpy.types.Panel):
    bl_label = "Latent"

    def draw(self, context: Any) -> None:
        layout = self.layout
        chosen = subject(context)
        info, latent = chosen.model, chosen.settings.latent
        layout.use_property_split = True
        first, second = seed_labels(info)
        column = layout.column(align=True)
        if latent.code:
            column.label(text="Found from a scan or an image", icon="LIGHTPROBE_VOLUME")
            column.prop(latent, "code", text="Code")
        else:
            column.prop(latent, "seed_a", text=first)
        if latent.code_b:
            column.prop(latent, "code_b", text="Code B")
        else:
            column.prop(latent, "seed_b", text=second)
        row = layout.row(align=True)
        row.operator("lathe.randomize_seeds", icon="FILE_REFRESH")
        row.operator("lathe.swap_seeds", text="", icon="ARROW_LEFTRIGHT")
        column = layout.column(align=True)
        for name, label in zip(("mix_geometry", "mix_appearance"), mix_labels(info)):
            column.prop(latent, name, text=label, slider=True)
        if info.has_truncation:
            layout.prop(latent, "truncation", slider=True)
        column = layout.column(align=True)
        for direction in latent.directions:
            column.prop(direction, "strength", text=direction.name, translate=False)
        known = {control.name: control for control in info.controls}
        column = layout.column()
        for item in latent.controls:
            if item.name in known:
                name = gather.property_of(item.unit)
                column.prop(item, name, text=known[item.name].label, translate=False)


class LATHE_PT_style_mix(LatentPanel, bpy.types.Panel):
    """Layers of the model that are taken from seed B"""

    bl_label = "Style Mixing"
    bl_parent_id = "LATHE_PT_latent"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return has_latents(context) and gather.num_layers(subject(context).model) > 0

    def draw(self, context: Any) -> None:
        layout = self.layout
        chosen = subject(context)
        info, latent = chosen.model, chosen.settings.latent
        count = gather.num_layers(info)
        split = gather.layer_of_row(info.num_geometry_ws, info) if gather.is_separate(info) else count
        layout.label(text="Layers taken from seed B")
        names = ("Geometry", "Appearance") if split < count else ("All",)
        for name, layers in zip(names, (range(split), range(split, count))):
            column = layout.column(align=True)
            column.label(text=name)
            grid = column.grid_flow(row_major=True, columns=LAYER_COLUMNS, even_columns=True, align=True)
            for layer in layers:
                grid.prop(latent, "style_layers", index=layer, text=str(layer + 1), toggle=True)
        layout.operator("lathe.clear_layers", icon="X")


class LATHE_PT_condition(LatentPanel, bpy.types.Panel):
    """Camera pose that the model is conditioned on, independent of the rendered view"""

    bl_label = "Conditioning Pose"
    bl_parent_id = "LATHE_PT_latent"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: Any) -> bool:
        return has_latents(context) and subject(context).model.pose_conditioned

    def draw_header(self, context: Any) -> None:
        self.layout.prop(subject(context).settings.latent, "use_condition", text="")

    def draw(self, context: Any) -> None:
        layout = self.layout
        latent = subject(context).settings.latent
        layout.use_property_split = True
        column = layout.column(align=True)
        column.active = latent.use_condition
        column.prop(latent, "condition_yaw")
        column.prop(latent, "condition_pitch")


class LATHE_PT_variants(LatentPanel, bpy.types.Panel):
    """A sheet of seeds to choose from"""

    bl_label = "Variants"
    bl_parent_id = "LATHE_PT_latent"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        lathe, chosen = context.scene.lathe, subject(context)
        made = [(index, item) for index, item in enumerate(lathe.variants) if item.model == chosen.settings.model]
        row = layout.row(align=True)
        row.operator("lathe.variants", icon="IMGDISPLAY")
        if made:
            row.operator("lathe.variants", text="More", icon="ADD").more = True
        column = settings_column(layout)
        column.prop(lathe, "variant_count")
        if latents.seed_b_matters(chosen.settings.latent, chosen.model):
            column.row().prop(lathe, "vary", expand=True)
        of_b = len(made) > 1 and len({item.latent.seed_a for _, item in made}) == 1  # a sheet of seeds B
        grid = layout.grid_flow(row_major=True, columns=COLUMNS, even_columns=True, even_rows=True, align=True)
        for index, item in made:
            cell = grid.column(align=True)
            cell.template_icon(icon_value=thumbnails.icon(item.thumbnail), scale=CELL)
            text = str(item.latent.seed_b if of_b else item.latent.seed_a)
            button = cell.operator("lathe.use_latent", text=text, translate=False)
            button.where, button.index = "variants", index


class LATHE_UL_history(bpy.types.UIList):
    """Latents rendered so far, newest first"""

    def draw_item(
        self,
        context: Any,
        layout: Any,
        data: Any,
        item: Any,
        icon: int,
        active_data: Any,
        active_property: str,
        index: int,
    ) -> None:
        info = session.models.get(item.model)
        thumbnail = thumbnails.icon(item.thumbnail)
        row = layout.row(align=True)
        text = latents.title(item, info)
        if item.model != subject(context).settings.model:
            text = f"{info.label if info else item.model} {text}"
        star = "SOLO_ON" if item.starred else "SOLO_OFF"
        button = row.operator("lathe.star_latent", text="", icon=star, emboss=False)
        button.where, button.index = "history", index
        left = row.row(align=True)
        left.alignment = "LEFT"
        if thumbnail:
            button = left.operator("lathe.use_latent", text=text, icon_value=thumbnail, emboss=False, translate=False)
        else:
            button = left.operator("lathe.use_latent", text=text, icon="DOT", emboss=False, translate=False)
        button.where, button.index = "history", index

    def filter_items(self, context: Any, data: Any, name: str) -> tuple[list[int], list[int]]:
        items = getattr(data, name)
        shown = [self.bitflag_filter_item if item.starred or not data.favourites_only else 0 for item in items]
        return shown, []


class LATHE_PT_history(LatentPanel, bpy.types.Panel):
    """Latents rendered so far, stored in the file"""

    bl_label = "History"
    bl_parent_id = "LATHE_PT_latent"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        lathe = context.scene.lathe
        if not lathe.history:
            layout.label(text="Rendered latents are listed here", icon="INFO")
            return
        row = layout.row()
        row.template_list("LATHE_UL_history", "", lathe, "history", lathe, "history_index", rows=4)
        column = row.column(align=True)
        column.prop(lathe, "favourites_only", text="", icon="SOLO_ON", toggle=True)
        column.operator("lathe.clear_history", text="", icon="TRASH")


class LATHE_PT_walk(LatentPanel, bpy.types.Panel):
    """An animation from seed to seed"""

    bl_label = "Latent Walk"
    bl_parent_id = "LATHE_PT_latent"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        walk = context.scene.lathe.walk
        column = settings_column(layout)
        column.prop(walk, "seeds")
        column.prop(walk, "frames")
        column.prop(walk, "closed")
        column.prop(walk, "smooth")
        layout.operator("lathe.walk_favourites", icon="SOLO_ON")
        row = layout.row(align=True)
        row.operator("lathe.keyframe_walk", icon="KEY_HLT")
        row.operator("lathe.clear_walk", text="", icon="KEY_DEHLT")
        layout.row().prop(context.scene.lathe.path, "source", expand=True)
        layout.operator("lathe.render_path", icon="RENDER_ANIMATION")


class LATHE_PT_mesh(LathePanel, bpy.types.Panel):
    bl_label = "Mesh"

    def draw(self, context: Any) -> None:
        layout = self.layout
        chosen = subject(context)
        info, settings = chosen.info, chosen.settings.mesh
        if info is not None and not info.has_surface:
            text_lines(layout, info.no_surface_reason, "INFO")
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
        column = settings_column(layout)
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


class LATHE_PT_scan(LathePanel, bpy.types.Panel):
    bl_label = "From a Mesh"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        lathe = context.scene.lathe
        info = subject(context).info
        if info is not None and "complete" in info.capabilities:
            button(layout, context, "lathe.complete", "MOD_MESHDEFORM")
            button(layout, context, "lathe.complete_depth", "IMAGE_ZDEPTH")
            column = settings_column(layout)
            column.prop(lathe.complete, "iterations")
            column.prop(lathe.complete, "seed")
            layout.separator()
        button(layout, context, "lathe.fit_shape", "MOD_SHRINKWRAP")
        column = settings_column(layout)
        column.prop(lathe.fit, "name")
        column.prop(lathe.fit, "steps")
        column.prop(lathe.fit, "preset")
        column.prop(lathe.fit, "seed")


class LATHE_PT_export(LathePanel, bpy.types.Panel):
    bl_label = "Export"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: Any) -> None:
        layout = self.layout
        row = layout.row(align=True)
        row.prop(context.scene.lathe.export, "format", text="")
        row.operator("lathe.export", icon="EXPORT")
