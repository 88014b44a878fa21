"""`scene.lathe` and `object.lathe`: everything that a .blend file stores.

The scene holds the settings of new shapes, each generated object those it was made from. A radiance field is an empty
whose `lathe.is_field` is on: its transform places the field, `lathe.crop_*` crops it. Property names are a file format
and never change. Descriptions are the users' manual.
"""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .field import properties as field
from .path import properties as path
from .preview import live
from .preview import properties as preview
from .shape import properties as shape


class LatheScene(bpy.types.PropertyGroup):
    """`scene.lathe`: settings of new shapes, and of the tab."""

    model: StringProperty(name="Model", description="The model that makes new shapes", options=set())
    target: EnumProperty(
        name="Sliders Of",
        description="Whose latent, model and mesh settings the tab shows and uses",
        items=(
            ("NEW", "New Shape", "The settings below belong to the scene and make new objects"),
            ("OBJECT", "Active Object", "The settings below belong to the active generated object and re-mesh it"),
        ),
        default="NEW",
        options=set(),
    )
    latent: PointerProperty(type=shape.LatheLatent)
    view: PointerProperty(type=shape.LatheView)
    mesh: PointerProperty(type=shape.LatheMesh)
    walk: PointerProperty(type=shape.LatheWalk)
    history: CollectionProperty(type=shape.LatheRemembered, name="History", description="Latents seen, newest first")
    history_index: IntProperty(name="Row", description="The row of the history that is marked", options=set())
    favourites_only: BoolProperty(name="Favourites Only", description="Show favourites only", options=set())
    variants: CollectionProperty(type=shape.LatheRemembered, name="Variants", description="The sheet to choose from")
    variant_count: IntProperty(
        name="Count", description="How many pictures the sheet has", default=16, min=1, max=64, options=set()
    )
    vary: EnumProperty(
        name="Vary",
        description="Which seed differs from picture to picture; all else stays as it is set",
        items=(("A", "Seed A", "One picture for each seed A"), ("B", "Seed B", "One picture for each seed B")),
        default="A",
        options=set(),
    )
    preview: PointerProperty(type=preview.LathePreview)
    path: PointerProperty(type=path.LathePath)
    complete: PointerProperty(type=shape.LatheComplete)
    fit: PointerProperty(type=shape.LatheFit)
    capture: PointerProperty(type=field.LatheCapture)
    field: PointerProperty(type=field.LatheField)
    export: PointerProperty(type=shape.LatheExport)
    last_object: PointerProperty(
        type=bpy.types.Object,
        name="Last Object",
        description="The object made last; Replace Last changes its mesh",
        options=set(),
    )


def _crop_changed(_self, _context):
    live.forget()


class LatheObject(bpy.types.PropertyGroup):
    """`object.lathe`: what a generated object was made from, or which radiance field an empty places."""

    is_generated: BoolProperty(name="Generated", description="This object came from a model", options=set())
    is_field: BoolProperty(name="Field", description="This empty is the box of a radiance field", options=set())
    model: StringProperty(name="Model", description="The model that this shape came from", options=set())
    latent: PointerProperty(type=shape.LatheLatent)
    view: PointerProperty(type=shape.LatheView)
    mesh: PointerProperty(type=shape.LatheMesh)
    box_min: FloatVectorProperty(name="Box Minimum", description="Of the field's own box", options=set())
    box_max: FloatVectorProperty(name="Box Maximum", description="Of the field's own box", options=set())
    use_crop: BoolProperty(
        name="Crop",
        description="Leave nothing of the field outside the crop box, in pictures and meshes",
        update=_crop_changed,
        options=shape.ANIMATABLE,
    )
    crop_min: FloatVectorProperty(
        name="Minimum",
        description="Lower corner of the crop box, in the field's own coordinates",
        subtype="XYZ",
        unit="LENGTH",
        update=_crop_changed,
        options=shape.ANIMATABLE,
    )
    crop_max: FloatVectorProperty(
        name="Maximum",
        description="Upper corner of the crop box, in the field's own coordinates",
        subtype="XYZ",
        unit="LENGTH",
        update=_crop_changed,
        options=shape.ANIMATABLE,
    )
    partner: PointerProperty(
        type=bpy.types.Object,
        name="Partner",
        description="Of a field the mesh that was made of it, of that mesh the field",
        options=set(),
    )


CLASSES = (
    *shape.CLASSES,
    *preview.CLASSES,
    *path.CLASSES,
    *field.CLASSES,
    LatheScene,
    LatheObject,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.lathe = PointerProperty(type=LatheScene)
    bpy.types.Object.lathe = PointerProperty(type=LatheObject)


def unregister() -> None:
    del bpy.types.Object.lathe
    del bpy.types.Scene.lathe
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
