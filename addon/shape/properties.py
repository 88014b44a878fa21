"""Settings of a shape that a .blend file stores: latent, view, mesh, scan, export.

All latents and the view of the sliders can be keyframed and driven: `scene.lathe.latent.mix_geometry`,
`object.lathe.latent.controls["puff"].value`, `object.lathe.view.yaw`.
"""

import math

import bpy
from bpy.props import (
    BoolProperty,
    BoolVectorProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..link.session import session
from ..scene.gather import MAX_LAYERS, property_of
from ..scene.option_properties import option_property
from ..wire.messages import MAX_ROWS, MAX_STRENGTH, CompleteRequest, FitShapeRequest, Latent, MeshRequest

ANIMATABLE = {"ANIMATABLE"}


def _clamp(self, _context):
    """Keep a control in its model's range; the range is data, so the property itself cannot hold it."""
    name = property_of(self.unit)
    wanted = getattr(self, name)
    allowed = type(wanted)(min(max(wanted, self.minimum), self.maximum))
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
    on: BoolProperty(name="On", description="A control of the model that is on or off", options=ANIMATABLE)
    number: IntProperty(
        name="Number", description="A control of the model that counts", update=_clamp, options=ANIMATABLE
    )


class LatheStoredRow(bpy.types.PropertyGroup):
    """A row of the latent (w+) that is taken from a stored code."""

    row: IntProperty(name="Row", description="Row of the latent", min=0, max=MAX_ROWS - 1, options=set())
    code: StringProperty(name="Code", description="Stored code that the row is taken from", options=set())
    code_data: StringProperty(name="Code Data", description="The stored code itself", options={"HIDDEN"})


class LatheDirection(bpy.types.PropertyGroup):
    """A direction in latent space that is added to the latent. Its `name` is the label of the slider."""

    code: StringProperty(name="Code", description="Stored code of the direction", options=set())
    code_data: StringProperty(name="Code Data", description="The direction itself", options={"HIDDEN"})
    strength: FloatProperty(
        name="Strength",
        description="Factor of the direction that is added to the latent; 0 leaves the shape as it is",
        default=1.0,
        min=-MAX_STRENGTH,
        max=MAX_STRENGTH,
        soft_min=-3.0,
        soft_max=3.0,
        options=ANIMATABLE,
    )
    layers: BoolVectorProperty(
        name="Layers",
        description="Layers of the model that the direction is added to; none means all",
        size=MAX_LAYERS,
        options=set(),
    )


class LatheLatent(bpy.types.PropertyGroup):
    """Which of a model's shapes."""

    seed_a: option_property(Latent, "seed_a", options=ANIMATABLE)
    seed_b: option_property(Latent, "seed_b", default=5, options=ANIMATABLE)
    mix_geometry: option_property(Latent, "mix_geometry", options=ANIMATABLE)
    mix_appearance: option_property(Latent, "mix_appearance", options=ANIMATABLE)
    truncation: option_property(Latent, "truncation_psi", default=0.7, options=ANIMATABLE)
    style_layers: BoolVectorProperty(
        name="Layers from Seed B",
        description="Take this layer of the model from seed B whole, whatever the mixes say. Early layers are form, "
        "late ones the surface",
        size=MAX_LAYERS,
        options=ANIMATABLE,
    )
    use_condition: BoolProperty(
        name="Conditioning Pose",
        description="Tell the model of another camera than its front view. What is rendered is another matter: this "
        "changes the shape itself a little, as some models learned that pose and look go together",
        options=ANIMATABLE,
    )
    condition_yaw: FloatProperty(
        name="Yaw",
        description="How far round the camera stands that the model is told of",
        subtype="ANGLE",
        soft_min=-1.0,
        soft_max=1.0,
        options=ANIMATABLE,
    )
    condition_pitch: FloatProperty(
        name="Pitch",
        description="How far above the usual view the camera stands that the model is told of",
        subtype="ANGLE",
        min=-math.pi / 2,
        max=math.pi / 2,
        soft_min=-1.0,
        soft_max=1.0,
        options=ANIMATABLE,
    )
    code: option_property(Latent, "code")
    code_data: StringProperty(
        name="Code Data",
        description="The found shape itself, so that the file carries it",
        options={"HIDDEN"},
    )
    code_b: option_property(Latent, "code_b")
    code_b_data: StringProperty(
        name="Code B Data",
        description="The stored code itself, so that the file contains it",
        options={"HIDDEN"},
    )
    rows: CollectionProperty(type=LatheStoredRow, name="Rows", description="Rows that are taken from stored codes")
    directions: CollectionProperty(
        type=LatheDirection, name="Directions", description="Directions that are added to the latent"
    )
    controls: CollectionProperty(type=LatheControl, name="Controls", description="The model's own sliders")


class LatheView(bpy.types.PropertyGroup):
    """A camera on a ball round the model, at the distance it was trained from."""

    yaw: FloatProperty(
        name="Yaw",
        description="How far round the model, from its front. Keyframe it for a turntable",
        subtype="ANGLE",
        soft_min=-math.pi,
        soft_max=math.pi,
        step=100,
        options=ANIMATABLE,
    )
    pitch: FloatProperty(
        name="Pitch",
        description="How far above the model's usual view; below it if negative",
        subtype="ANGLE",
        min=-math.pi,
        max=math.pi,
        soft_min=-1.0,
        soft_max=1.0,
        step=100,
        options=ANIMATABLE,
    )
    roll: FloatProperty(
        name="Roll",
        description="Turn of the picture about the line of sight",
        subtype="ANGLE",
        soft_min=-math.pi,
        soft_max=math.pi,
        step=100,
        options=ANIMATABLE,
    )
    fov: FloatProperty(
        name="Field of View",
        description="Of the shorter side of the picture; smaller looks nearer. Models know best what they have seen",
        subtype="ANGLE",
        default=math.radians(30),
        min=math.radians(0.5),
        max=math.radians(170),
        soft_min=math.radians(5),
        soft_max=math.radians(90),
        step=50,
        options=ANIMATABLE,
    )


def _level_range(group):
    """Return the lowest, the usual and the highest level of the model of a LatheMesh, or None."""
    info = session.models.get(group.id_data.lathe.model)
    if info is None or info.quantity != "density" or info.iso_range[1] <= 0:
        return None
    high = info.iso_range[1]
    return max(info.iso_range[0], high * 1e-3), info.iso_level, high


def _get_level_slider(self):
    known = _level_range(self)
    if known is None:
        return 0.0
    low, usual, high = known
    level = self.level if self.use_level else usual
    return min(max(math.log(max(level, low) / low) / math.log(high / low), 0.0), 1.0)


def _set_level_slider(self, value):
    known = _level_range(self)
    if known is not None:
        low, _, high = known
        self.use_level = True
        self.level = low * (high / low) ** value


class LatheMesh(bpy.types.PropertyGroup):
    """How a shape becomes a mesh."""

    resolution: option_property(MeshRequest, "resolution")
    use_level: BoolProperty(
        name="Own Level",
        description="Put the surface at another level than the model's own",
        options=set(),
    )
    level: option_property(MeshRequest, "iso_level", precision=4, step=0.1)
    level_slider: FloatProperty(
        name="Level",
        description="How dense the field must be to count as solid, from the least to the most there is. To the left "
        "the mesh takes in more, to the right less",
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        get=_get_level_slider,
        set=_set_level_slider,
        options={"SKIP_SAVE"},
    )
    live: BoolProperty(
        name="Live Level",
        description="Mesh again whenever the level changes: bare while it moves, then with everything. The field is "
        "not evaluated again for that",
        options={"SKIP_SAVE"},
    )
    target_faces: option_property(MeshRequest, "target_faces")
    minimum_component: option_property(MeshRequest, "minimum_component", precision=3)
    fill_holes: option_property(MeshRequest, "fill_holes")
    smoothing: option_property(MeshRequest, "smoothing")
    smooth_normals: option_property(MeshRequest, "smooth_normals")
    color: option_property(MeshRequest, "color")
    texture_size: option_property(MeshRequest, "texture_size")
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


class LatheComplete(bpy.types.PropertyGroup):
    """Finding the shape that fits a scan."""

    iterations: option_property(CompleteRequest, "iterations")
    seed: option_property(CompleteRequest, "seed")


class LatheFit(bpy.types.PropertyGroup):
    """Learning one mesh as a model of its own."""

    name: StringProperty(
        name="Name",
        description="Name of the new model: letters, digits, '.', '-' and '_'. Empty takes the object's name",
        options=set(),
    )
    steps: option_property(FitShapeRequest, "steps")
    preset: option_property(FitShapeRequest, "preset")
    seed: option_property(FitShapeRequest, "seed")


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


class LatheRemembered(bpy.types.PropertyGroup):
    """A latent that was seen: of the history, or on the sheet of variants."""

    model: StringProperty(name="Model", description="The model that it belongs to", options=set())
    latent: PointerProperty(type=LatheLatent)
    starred: BoolProperty(name="Favourite", description="Keep it, however long the history gets", options=set())
    thumbnail: StringProperty(name="Thumbnail", description="Its picture, packed", options={"HIDDEN"})


class LatheWalk(bpy.types.PropertyGroup):
    """From one seed to the next, over the frames."""

    seeds: StringProperty(
        name="Seeds",
        description="The seeds that the walk visits, with commas between them",
        default="0, 1, 2, 3",
        options=set(),
    )
    frames: IntProperty(
        name="Frames per Step",
        description="Frames from one seed to the next",
        default=24,
        min=1,
        max=10_000,
        options=set(),
    )
    closed: BoolProperty(
        name="Return to the First", description="End with the seed that it began with, as a loop", options=set()
    )
    smooth: BoolProperty(
        name="Rest at Seeds",
        description="Slow down at each seed; off, the walk goes on evenly",
        default=True,
        options=set(),
    )


CLASSES = (
    LatheControl,
    LatheStoredRow,
    LatheDirection,
    LatheLatent,
    LatheView,
    LatheMesh,
    LatheComplete,
    LatheFit,
    LatheExport,
    LatheRemembered,
    LatheWalk,
)
