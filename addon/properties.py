"""What a .blend file remembers: settings of new shapes on the scene, and of each generated shape on its object.

Everything a user can set is here, so the descriptions are the manual. All latents can be keyframed and driven:
`scene.lathe.latent.mix_geometry`, `object.lathe.latent.controls["yaw"].value`.
"""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .wire.messages import MAX_RESOLUTION, MAX_SEED

ANIMATABLE = {"ANIMATABLE"}


def _clamp(self, _context):
    """Keep a control in its model's range; the range is data, so the property itself cannot hold it."""
    name = "angle" if self.unit == "radians" else "value"
    wanted = getattr(self, name)
    allowed = min(max(wanted, self.minimum), self.maximum)
    if allowed != wanted:
        setattr(self, name, allowed)


class LatheControl(bpy.types.PropertyGroup):
    """One of the model's own sliders. Its `name` is the model's name for it."""

    label: StringProperty(name="Label", options=set())
    unit: StringProperty(name="Unit", options=set())
    minimum: FloatProperty(name="Minimum", default=0.0, options=set())
    maximum: FloatProperty(name="Maximum", default=1.0, options=set())
    value: FloatProperty(name="Value", description="A control of the model", update=_clamp, options=ANIMATABLE)
    angle: FloatProperty(
        name="Angle",
        description="A control of the model that is an angle",
        subtype="ANGLE",
        update=_clamp,
        options=ANIMATABLE,
    )


class LatheLatent(bpy.types.PropertyGroup):
    """Which of a model's shapes."""

    seed_a: IntProperty(
        name="Seed A",
        description="Each number is another shape of the model. With both mixes at 0 this is the shape you get",
        min=0,
        max=MAX_SEED,
        options=ANIMATABLE,
    )
    seed_b: IntProperty(
        name="Seed B",
        description="The shape that the mixes lead to",
        default=5,
        min=0,
        max=MAX_SEED,
        options=ANIMATABLE,
    )
    mix_geometry: FloatProperty(
        name="Mix Geometry",
        description="How far the form goes from seed A (0) to seed B (1). Keyframe it to morph",
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        options=ANIMATABLE,
    )
    mix_appearance: FloatProperty(
        name="Mix Appearance",
        description="How far the colours go from seed A (0) to seed B (1), for models that tell colour from form",
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        options=ANIMATABLE,
    )
    truncation: FloatProperty(
        name="Truncation",
        description="Lower values stay nearer to the model's average: fewer faults, less variety. 1 is the full range",
        default=1.0,
        min=0.0,
        max=2.0,
        soft_max=1.0,
        options=ANIMATABLE,
    )
    code: StringProperty(
        name="Code",
        description="A shape found by completing a scan. Where set, it stands in place of seed A",
        options=set(),
    )
    code_data: StringProperty(
        name="Code Data",
        description="The found shape itself, so that the file carries it",
        options={"HIDDEN"},
    )
    controls: CollectionProperty(type=LatheControl, name="Controls", description="The model's own sliders")


class LatheMesh(bpy.types.PropertyGroup):
    """How a shape becomes a mesh."""

    resolution: IntProperty(
        name="Resolution",
        description="Cells along the longest side. Twice the number gives four times the faces",
        default=128,
        min=8,
        max=MAX_RESOLUTION,
        soft_max=512,
        options=set(),
    )
    use_level: BoolProperty(
        name="Own Level",
        description="Put the surface at another level than the model's own",
        options=set(),
    )
    level: FloatProperty(
        name="Level",
        description="Value of the field at which the surface lies: metres for a distance field (above 0 is thicker), "
        "1/metre for a density (above is thinner)",
        precision=4,
        step=0.1,
        options=set(),
    )
    target_faces: IntProperty(
        name="Target Faces",
        description="Simplify to about this many triangles; 0 keeps all",
        default=0,
        min=0,
        max=50_000_000,
        options=set(),
    )
    minimum_component: FloatProperty(
        name="Drop Small Pieces",
        description="Remove loose pieces whose area is below this part of the largest piece; 0 keeps all",
        default=0.01,
        min=0.0,
        max=1.0,
        precision=3,
        options=set(),
    )
    fill_holes: BoolProperty(name="Fill Holes", description="Close small holes", default=True, options=set())
    smooth_normals: BoolProperty(
        name="Smooth Normals",
        description="Shade smoothly in place of flat faces: a distance field by its own normals, others by the mesh's",
        default=True,
        options=set(),
    )
    color: EnumProperty(
        name="Color",
        description="What the mesh carries of the model's colours",
        items=(
            ("NONE", "None", "Geometry alone"),
            ("VERTEX", "Vertex Colors", "A color attribute, one color for each vertex"),
            ("TEXTURE", "Texture", "UV coordinates and an image baked from the field"),
        ),
        default="VERTEX",
        options=set(),
    )
    texture_size: IntProperty(
        name="Texture Size",
        description="Pixels along each side of the baked image",
        default=1024,
        min=16,
        max=8192,
        options=set(),
    )
    placement: EnumProperty(
        name="Place",
        description="Where the result goes",
        items=(
            ("CURSOR", "At 3D Cursor", "Make a new object at the 3D cursor"),
            ("LAST", "Replace Last", "Give the last object made here the new mesh; it stays where it is"),
        ),
        default="CURSOR",
        options=set(),
    )


def _live_changed(self, _context):
    from . import live

    live.forget()


class LathePreview(bpy.types.PropertyGroup):
    """The picture of the shape before it is a mesh."""

    source: EnumProperty(
        name="Through",
        description="Which view is rendered",
        items=(
            ("CAMERA", "Camera", "The scene's active camera"),
            ("VIEWPORT", "Viewport", "The largest 3D viewport, as you see it"),
        ),
        default="VIEWPORT",
        options=set(),
    )
    size: IntProperty(
        name="Size",
        description="Pixels along the longer side of the preview",
        default=256,
        min=16,
        max=2048,
        options=set(),
    )
    live: BoolProperty(
        name="Live",
        description="Render again whenever the view or the sliders change: a draft while they move, then the full "
        "picture. The newest request replaces older ones",
        update=_live_changed,
        options={"SKIP_SAVE"},
    )
    show: EnumProperty(
        name="Show",
        description="What the preview image shows",
        items=(
            ("COLOR", "Color", "Colours with alpha"),
            ("DEPTH", "Depth", "Distance along the view, near is bright"),
            ("NORMAL", "Normal", "World normals as colours"),
        ),
        default="COLOR",
        options=set(),
    )


class LathePath(bpy.types.PropertyGroup):
    """An animation through the active camera."""

    directory: StringProperty(
        name="Folder",
        description="Where the frames are written, as 0001.png and so on. // is the folder of the .blend file",
        subtype="DIR_PATH",
        default="//lathe_frames",
        options=set(),
    )
    overwrite: BoolProperty(
        name="Overwrite",
        description="Render every frame again. Off, frames whose file exists are skipped, so an interrupted path goes "
        "on where it stopped",
        options=set(),
    )
    quality: EnumProperty(
        name="Quality",
        description="Quality of each frame",
        items=(("DRAFT", "Draft", "Fast, fewer samples"), ("FULL", "Full", "The model's full quality")),
        default="FULL",
        options=set(),
    )


class LatheComplete(bpy.types.PropertyGroup):
    """Finding the shape that fits a scan."""

    iterations: IntProperty(
        name="Iterations",
        description="Steps of the fit. More are slower and closer",
        default=800,
        min=1,
        max=100_000,
        options=set(),
    )
    seed: IntProperty(name="Seed", description="Where the fit starts", min=0, max=MAX_SEED, options=set())


class LatheFit(bpy.types.PropertyGroup):
    """Learning one mesh as a model of its own."""

    name: StringProperty(
        name="Name",
        description="Name of the new model: letters, digits, '.', '-' and '_'. Empty takes the object's name",
        options=set(),
    )
    steps: IntProperty(name="Steps", description="Training steps", default=2000, min=1, max=1_000_000, options=set())
    preset: EnumProperty(
        name="Network",
        description="Size of the network",
        items=(("SMALL", "Small", "Quick to learn and to mesh"), ("OFFICIAL", "Official", "The paper's 8 × 512")),
        default="SMALL",
        options=set(),
    )
    seed: IntProperty(name="Seed", description="Seed of the training", min=0, max=MAX_SEED, options=set())


class LatheExport(bpy.types.PropertyGroup):
    """Writing a shape to a file."""

    format: EnumProperty(
        name="Format",
        description="File format of the export",
        items=(
            ("GLB", "GLB", "glTF binary, Y up, with materials and texture"),
            ("OBJ", "OBJ", "Wavefront, Y up"),
            ("PLY", "PLY", "Stanford, Z up, with vertex colours"),
            ("USD", "USD", "Universal Scene Description, Z up"),
        ),
        default="GLB",
        options=set(),
    )


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
    latent: PointerProperty(type=LatheLatent)
    mesh: PointerProperty(type=LatheMesh)
    preview: PointerProperty(type=LathePreview)
    path: PointerProperty(type=LathePath)
    complete: PointerProperty(type=LatheComplete)
    fit: PointerProperty(type=LatheFit)
    export: PointerProperty(type=LatheExport)
    last_object: PointerProperty(
        type=bpy.types.Object,
        name="Last Object",
        description="The object made last; Replace Last changes its mesh",
        options=set(),
    )


class LatheObject(bpy.types.PropertyGroup):
    """`object.lathe`: what a generated object was made from."""

    is_generated: BoolProperty(name="Generated", description="This object came from a model", options=set())
    model: StringProperty(name="Model", description="The model that this shape came from", options=set())
    latent: PointerProperty(type=LatheLatent)
    mesh: PointerProperty(type=LatheMesh)


CLASSES = (
    LatheControl,
    LatheLatent,
    LatheMesh,
    LathePreview,
    LathePath,
    LatheComplete,
    LatheFit,
    LatheExport,
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
