"""Settings of a shape that a .blend file stores: latent, view, mesh, scan, export.

All latents and the view of the sliders can be keyframed and driven: `scene.lathe.latent.mix_geometry`,
`object.lathe.latent.controls["puff"].value`, `object.lathe.view.yaw`.
"""

import math
from typing import Any

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
from ..scene.option_properties import option_property, with_options
from ..wire.messages import MAX_ROWS, MAX_STRENGTH, CompleteRequest, FitShapeRequest, Latent, MeshRequest

ANIMATABLE = {"ANIMATABLE"}


def _clamp(self: Any, _context: Any) -> None:
    """Clamp a control to its model's range, which is data and cannot be declared with the property."""
    name = property_of(self.unit)
    wanted = getattr(self, name)
    allowed = type(wanted)(min(max(wanted, self.minimum), self.maximum))
    if allowed != wanted:
        setattr(self, name, allowed)


class LatheControl(bpy.types.PropertyGroup):
    """A control of the model. Its `name` is the name in ModelInfo."""

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
        name="Number", description="A control of the model that is a whole number", update=_clamp, options=ANIMATABLE
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
    """A shape of a model: seeds, mixes, layers, conditioning pose, controls."""

    seed_a: option_property(Latent, "seed_a", options=ANIMATABLE)
    seed_b: option_property(Latent, "seed_b", default=5, options=ANIMATABLE)
    mix_geometry: option_property(Latent, "mix_geometry", options=ANIMATABLE)
    mix_appearance: option_property(Latent, "mix_appearance", options=ANIMATABLE)
    truncation: option_property(Latent, "truncation_psi", default=0.7, options=ANIMATABLE)
    style_layers: BoolVectorProperty(
        name="Layers from Seed B",
        description="Take this layer of the model from seed B, whatever the mixes are. Early layers control geometry, "
        "late ones appearance",
        size=MAX_LAYERS,
        options=ANIMATABLE,
    )
    use_condition: BoolProperty(
        name="Conditioning Pose",
        description="Condition the model on a camera pose other than its front view. This changes the shape slightly, "
        "not the view, because some models learned that pose and appearance are correlated",
        options=ANIMATABLE,
    )
    condition_yaw: FloatProperty(
        name="Yaw",
        description="Azimuth of the conditioning camera, from the model's front",
        subtype="ANGLE",
        soft_min=-1.0,
        soft_max=1.0,
        options=ANIMATABLE,
    )
    condition_pitch: FloatProperty(
        name="Pitch",
        description="Elevation of the conditioning camera, from the model's usual view",
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
        description="The data of the found shape, stored in the file",
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
    controls: CollectionProperty(type=LatheControl, name="Controls", description="The model's own controls")


class LatheView(bpy.types.PropertyGroup):
    """A camera on a sphere around the model, at the model's training distance."""

    yaw: FloatProperty(
        name="Yaw",
        description="Azimuth of the camera, from the model's front. Keyframe it for a turntable",
        subtype="ANGLE",
        soft_min=-math.pi,
        soft_max=math.pi,
        step=100,
        options=ANIMATABLE,
    )
    pitch: FloatProperty(
        name="Pitch",
        description="Elevation of the camera, from the model's usual view",
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
        description="Rotation of the camera about its line of sight",
        subtype="ANGLE",
        soft_min=-math.pi,
        soft_max=math.pi,
        step=100,
        options=ANIMATABLE,
    )
    fov: FloatProperty(
        name="Field of View",
        description="Angle of view of the shorter side of the image. Models are most accurate at their training value",
        subtype="ANGLE",
        default=math.radians(30),
        min=math.radians(0.5),
        max=math.radians(170),
        soft_min=math.radians(5),
        soft_max=math.radians(90),
        step=50,
        options=ANIMATABLE,
    )


def _level_range(group: Any) -> tuple[float, float, float] | None:
    """Return the lowest, the model's own and the highest level for a LatheMesh; None where there is no slider."""
    info = session.models.get(group.id_data.lathe.model)
    if info is None or info.quantity != "density" or info.iso_range[1] <= 0:
        return None
    high = info.iso_range[1]
    return max(info.iso_range[0], high * 1e-3), info.iso_level, high


def _get_level_slider(self: Any) -> float:
    known = _level_range(self)
    if known is None:
        return 0.0
    low, usual, high = known
    level = self.level if self.use_level else usual
    return float(min(max(math.log(max(level, low) / low) / math.log(high / low), 0.0), 1.0))


def _set_level_slider(self: Any, value: float) -> None:
    known = _level_range(self)
    if known is not None:
        low, _, high = known
        self.use_level = True
        self.level = low * (high / low) ** value


@with_options(
    MeshRequest,
    names={"iso_level": "level"},
    iso_level={"precision": 4, "step": 0.1},
    minimum_component={"precision": 3},
)
class LatheMesh(bpy.types.PropertyGroup):
    """Settings of surface extraction and texturing."""

    use_level: BoolProperty(
        name="Own Level",
        description="Extract the surface at a level other than the model's own",
        options=set(),
    )
    level_slider: FloatProperty(
        name="Level",
        description="Density at the surface, on a logarithmic scale from the lowest to the highest of the field. Lower "
        "values give a larger mesh",
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        get=_get_level_slider,
        set=_set_level_slider,
        options={"SKIP_SAVE"},
    )
    live: BoolProperty(
        name="Live Level",
        description="Extract the mesh again whenever the level changes: geometry alone while it moves, then with "
        "colours. The field is not evaluated again",
        options={"SKIP_SAVE"},
    )
    placement: EnumProperty(
        name="Place",
        description="Where the mesh is placed",
        items=(
            ("CURSOR", "At 3D Cursor", "A new object on the ground at the 3D cursor, beside what stands there"),
            ("LAST", "Replace Last", "Replace the mesh of the object generated last; its transform stays"),
        ),
        default="CURSOR",
        options=set(),
    )


@with_options(CompleteRequest)
class LatheComplete(bpy.types.PropertyGroup):
    """`scene.lathe.complete`: fitting a latent to a scan."""


@with_options(FitShapeRequest)
class LatheShapeFit(bpy.types.PropertyGroup):
    """`scene.lathe.fit`: training a shape network on one mesh."""

    name: StringProperty(
        name="Name",
        description="Name of the new model: letters, digits, '.', '-' and '_'. Empty uses the object's name",
        options=set(),
    )


class LatheExport(bpy.types.PropertyGroup):
    """`scene.lathe.export`: export of generated objects."""

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
    """A latent in the history or on the sheet of variants."""

    model: StringProperty(name="Model", description="Model of the latent", options=set())
    latent: PointerProperty(type=LatheLatent)
    starred: BoolProperty(name="Favourite", description="Never drop it from the history", options=set())
    thumbnail: StringProperty(name="Thumbnail", description="Its image, compressed", options={"HIDDEN"})


class LatheWalk(bpy.types.PropertyGroup):
    """`scene.lathe.walk`: an animation from seed to seed."""

    seeds: StringProperty(
        name="Seeds",
        description="Seeds to visit, separated by commas",
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
    closed: BoolProperty(name="Return to the First", description="End with the first seed, for a loop", options=set())
    smooth: BoolProperty(
        name="Rest at Seeds",
        description="Ease in and out at each seed. If off, the speed is constant",
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
    LatheShapeFit,
    LatheExport,
    LatheRemembered,
    LatheWalk,
)
