"""What a .blend file remembers: settings of new shapes on the scene, and of each generated shape on its object.

A radiance field is an empty whose `lathe.is_field` is on: its transform places the field, `lathe.crop_*` crops it.

Everything a user can set is here, so the descriptions are the manual. All latents and the view of the sliders can be
keyframed and driven: `scene.lathe.latent.mix_geometry`, `object.lathe.latent.controls["puff"].value`,
`object.lathe.view.yaw`.
"""

import math

import bpy
from bpy.props import (
    BoolProperty,
    BoolVectorProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .gather import MAX_LAYERS, property_of
from .session import session
from .wire.messages import MAX_IMAGE_SIDE, MAX_RESOLUTION, MAX_SEED

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
        default=0.7,
        min=0.0,
        max=2.0,
        soft_max=1.0,
        subtype="FACTOR",
        options=ANIMATABLE,
    )
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
    smoothing: IntProperty(
        name="Smoothing",
        description="Rounds that take noise from the surface of a density and keep its volume",
        default=10,
        min=0,
        max=1000,
        soft_max=50,
        options=set(),
    )
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
            ("SLIDERS", "Sliders", "Yaw, pitch, roll and field of view below, round the model wherever it stands"),
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
    sketch: BoolProperty(
        name="Depth and Silhouette",
        description="Show both beside the picture: the 2.5D sketch that Visual Object Networks paint on. They are the "
        "images 'Lathe Depth' and 'Lathe Silhouette', too",
        options=set(),
    )


class LathePath(bpy.types.PropertyGroup):
    """An animation through the active camera, or of the view's sliders."""

    source: EnumProperty(
        name="Through",
        description="Which view is rendered. Latents and sliders follow their keyframes and drivers either way",
        items=(
            ("CAMERA", "Camera", "The scene's active camera"),
            ("SLIDERS", "Sliders", "Yaw, pitch, roll and field of view of the panel Preview"),
        ),
        default="CAMERA",
        options=set(),
    )
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


class LatheCapture(bpy.types.PropertyGroup):
    """Pictures of the Blender scene from all sides."""

    rig: EnumProperty(
        name="Rig",
        description="Where the cameras stand",
        items=(
            ("ORBIT", "Orbit", "On one circle round the target"),
            ("HEMISPHERE", "Hemisphere", "All round and above"),
            ("SPHERE", "Sphere", "All round, above and below"),
            ("PATH", "Camera Path", "Where the scene's active camera goes over the frame range"),
        ),
        default="HEMISPHERE",
        options=set(),
    )
    target: EnumProperty(
        name="Target",
        description="What the cameras look at. Everything that is rendered is in the pictures",
        items=(
            ("SELECTED", "Selected", "The selected objects"),
            ("SCENE", "Whole Scene", "All objects that are rendered"),
        ),
        default="SELECTED",
        options=set(),
    )
    count: IntProperty(
        name="Images",
        description="How many pictures to fit to. 100 is good for an object, 30 for a first look",
        default=100,
        min=2,
        max=4000,
        options=set(),
    )
    test: IntProperty(
        name="Hold Back",
        description="How many more pictures the fit does not see; they tell how good it is",
        default=10,
        min=0,
        max=4000,
        options=set(),
    )
    size: IntProperty(
        name="Resolution",
        description="Pixels along the longer side of each picture; the aspect is that of the scene's render settings",
        default=256,
        min=16,
        max=MAX_IMAGE_SIDE,
        options=set(),
    )
    elevation: FloatProperty(
        name="Elevation",
        description="Height of the orbit above the middle, as an angle",
        default=math.radians(25),
        min=math.radians(-85),
        max=math.radians(85),
        subtype="ANGLE",
        options=set(),
    )
    fill: FloatProperty(
        name="Fill",
        description="How much of the picture the target takes",
        default=0.95,
        min=0.05,
        max=1.0,
        subtype="FACTOR",
        options=set(),
    )
    transparent: BoolProperty(
        name="Transparent",
        description="Leave the background out, so that the objects alone are fitted",
        default=True,
        options=set(),
    )
    depth: BoolProperty(name="Depth", description="Write the depth of each picture, too", options=set())
    normal: BoolProperty(name="Normals", description="Write the normals of each picture, too", options=set())
    mask: BoolProperty(name="Masks", description="Write where the target is in each picture, too", options=set())
    seed: IntProperty(name="Seed", description="Turns the rig", min=0, max=MAX_SEED, options=set())
    overwrite: BoolProperty(
        name="Overwrite",
        description="Render every picture again. Off, pictures that exist and would be the same are skipped. Light and "
        "materials are not looked at: turn it on when they have changed",
        options=set(),
    )


class LatheField(bpy.types.PropertyGroup):
    """Making a radiance field of pictures."""

    source: EnumProperty(
        name="From",
        description="Where the pictures come from",
        items=(
            ("SCENE", "Scene", "Rendered here, from the Blender scene"),
            ("FOLDER", "Data Set", "A folder of images with cameras: transforms.json or COLMAP"),
            ("PHOTOS", "Photos", "Photographs or a video; their cameras are found first"),
        ),
        default="SCENE",
        options=set(),
    )
    name: StringProperty(
        name="Name",
        description="Name of the field: letters, digits, '.', '-' and '_'. Empty takes the file's or the folder's name",
        options=set(),
    )
    data_sets: StringProperty(
        name="Data Sets",
        description="Captures and posed photographs are written here, each into a folder of its name. // is the folder "
        "of the .blend file",
        subtype="DIR_PATH",
        default="//lathe_data_sets",
        options=set(),
    )
    folder: StringProperty(
        name="Folder",
        description="A folder of images with cameras: transforms.json as NeRF-synthetic, nerfstudio and instant-ngp "
        "write it, or a COLMAP model",
        subtype="DIR_PATH",
        options=set(),
    )
    photos: StringProperty(
        name="Photos",
        description="A folder of photographs, any photograph of it, or a video",
        subtype="FILE_PATH",
        options=set(),
    )
    views: IntProperty(
        name="Views",
        description="How many pictures a model without a surface makes of its shape, for a radiance field",
        default=60,
        min=4,
        max=1000,
        options=set(),
    )
    max_images: IntProperty(
        name="Images",
        description="Of a video, or of more photographs, so many are taken at equal distances",
        default=150,
        min=2,
        max=2000,
        options=set(),
    )
    max_size: IntProperty(
        name="Detail",
        description="Pixels of the longer side in which matching points are sought. More is slower",
        default=1600,
        min=128,
        max=MAX_IMAGE_SIDE,
        options=set(),
    )
    preset: EnumProperty(
        name="Quality",
        description="Size of the field and how long it is fitted",
        items=(
            ("DRAFT", "Draft", "A first look"),
            ("STANDARD", "Standard", "Good for most things"),
            ("FINE", "Fine", "Larger, and fitted longer"),
        ),
        default="STANDARD",
        options=set(),
    )
    seconds: FloatProperty(
        name="Seconds",
        description="How long to fit. 0 takes the quality's own time",
        default=0.0,
        min=0.0,
        max=7 * 24 * 3600.0,
        soft_max=3600.0,
        options=set(),
    )
    steps: IntProperty(
        name="Steps",
        description="How many steps to fit. 0 fits for a time",
        default=0,
        min=0,
        max=10_000_000,
        options=set(),
    )
    more_seconds: FloatProperty(
        name="Go On for",
        description="How many seconds a fit that came to its end goes on when it is continued",
        default=60.0,
        min=1.0,
        max=24 * 3600.0,
        options=set(),
    )
    method: EnumProperty(
        name="Method",
        description="What the field is made of",
        items=(
            ("HASH", "Hash Grid", "Fast: a multiresolution hash encoding and small networks"),
            ("NERF", "NeRF", "The network of the 2020 paper: slow, for comparison"),
        ),
        default="HASH",
        options=set(),
    )
    background: EnumProperty(
        name="Background",
        description="What lies behind images with alpha. White and Black: that it lies behind images without, too",
        items=(
            ("AUTO", "Automatic", "As the data set suggests"),
            ("WHITE", "White", "White"),
            ("BLACK", "Black", "Black"),
            ("RANDOM", "Random", "Another colour each time, so that empty space stays empty"),
            ("TRANSPARENT", "Transparent", "The alpha itself is fitted"),
        ),
        default="AUTO",
        options=set(),
    )
    color_space: EnumProperty(
        name="Composite In",
        description="The colours in which light adds up along a ray",
        items=(("SRGB", "sRGB", "As most radiance fields do"), ("LINEAR", "Linear", "As light does")),
        default="SRGB",
        options=set(),
    )
    unbounded: EnumProperty(
        name="Surroundings",
        description="Whether the scene goes on beyond the cameras",
        items=(
            ("AUTO", "Automatic", "Of images without alpha that have no plain colour behind the object"),
            ("YES", "Fit Them Too", "The far distance is contracted into the field, with a sky behind it"),
            ("NO", "Object Alone", "Nothing outside the box"),
        ),
        default="AUTO",
        options=set(),
    )
    appearance: EnumProperty(
        name="Learn per Image",
        description="What is learnt of each image beside the field, so that its camera's settings do not end up in it",
        items=(
            ("NONE", "Nothing", "All images show the same colours"),
            ("EXPOSURE", "Exposure", "Exposure and white balance: for a camera with automatic exposure"),
            ("COLOR", "Colors", "Contrast and tint too: for images of several cameras, or developed one by one"),
        ),
        default="NONE",
        options=set(),
    )
    use_masks: BoolProperty(
        name="Use Masks", description="Leave out what the data set's masks leave out", default=True, options=set()
    )
    depth_weight: FloatProperty(
        name="Depth Weight",
        description="How much the data set's depth pictures count; 0 leaves them unused",
        min=0.0,
        max=1000.0,
        soft_max=1.0,
        options=set(),
    )
    flip_axes: BoolProperty(
        name="Flip Camera Axes",
        description="The data set's cameras look the other way: for files whose axes are not those of their format",
        options=set(),
    )
    refine_poses: BoolProperty(
        name="Refine Cameras",
        description="Fit the cameras together with the field. The cameras before and after are shown in the scene",
        options=set(),
    )
    near: FloatProperty(
        name="Clear Near Cameras",
        description="Density nearer to a camera than this is removed, in metres; 0 removes none",
        min=0.0,
        max=1e6,
        soft_max=1.0,
        subtype="DISTANCE",
        options=set(),
    )
    distortion_weight: FloatProperty(
        name="Compactness",
        description="Press the density along each ray together: against fog. 0.01 is much",
        min=0.0,
        max=100.0,
        soft_max=0.1,
        precision=4,
        options=set(),
    )
    opacity_weight: FloatProperty(
        name="Clear or Solid",
        description="Prefer rays that pass or are stopped whole: against half-transparent surfaces",
        min=0.0,
        max=100.0,
        soft_max=0.1,
        precision=4,
        options=set(),
    )
    seed: IntProperty(name="Seed", description="Seed of the fit", min=0, max=MAX_SEED, options=set())


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
    view: PointerProperty(type=LatheView)
    mesh: PointerProperty(type=LatheMesh)
    walk: PointerProperty(type=LatheWalk)
    history: CollectionProperty(type=LatheRemembered, name="History", description="Latents seen, newest first")
    history_index: IntProperty(name="Row", description="The row of the history that is marked", options=set())
    favourites_only: BoolProperty(name="Favourites Only", description="Show favourites only", options=set())
    variants: CollectionProperty(type=LatheRemembered, name="Variants", description="The sheet to choose from")
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
    preview: PointerProperty(type=LathePreview)
    path: PointerProperty(type=LathePath)
    complete: PointerProperty(type=LatheComplete)
    fit: PointerProperty(type=LatheFit)
    capture: PointerProperty(type=LatheCapture)
    field: PointerProperty(type=LatheField)
    export: PointerProperty(type=LatheExport)
    last_object: PointerProperty(
        type=bpy.types.Object,
        name="Last Object",
        description="The object made last; Replace Last changes its mesh",
        options=set(),
    )


def _crop_changed(_self, _context):
    from . import live

    live.forget()


class LatheObject(bpy.types.PropertyGroup):
    """`object.lathe`: what a generated object was made from, or which radiance field an empty places."""

    is_generated: BoolProperty(name="Generated", description="This object came from a model", options=set())
    is_field: BoolProperty(name="Field", description="This empty is the box of a radiance field", options=set())
    model: StringProperty(name="Model", description="The model that this shape came from", options=set())
    latent: PointerProperty(type=LatheLatent)
    view: PointerProperty(type=LatheView)
    mesh: PointerProperty(type=LatheMesh)
    box_min: FloatVectorProperty(name="Box Minimum", description="Of the field's own box", options=set())
    box_max: FloatVectorProperty(name="Box Maximum", description="Of the field's own box", options=set())
    use_crop: BoolProperty(
        name="Crop",
        description="Leave nothing of the field outside the crop box, in pictures and meshes",
        update=_crop_changed,
        options=ANIMATABLE,
    )
    crop_min: FloatVectorProperty(
        name="Minimum",
        description="Lower corner of the crop box, in the field's own coordinates",
        subtype="XYZ",
        unit="LENGTH",
        update=_crop_changed,
        options=ANIMATABLE,
    )
    crop_max: FloatVectorProperty(
        name="Maximum",
        description="Upper corner of the crop box, in the field's own coordinates",
        subtype="XYZ",
        unit="LENGTH",
        update=_crop_changed,
        options=ANIMATABLE,
    )
    partner: PointerProperty(
        type=bpy.types.Object,
        name="Partner",
        description="Of a field the mesh that was made of it, of that mesh the field",
        options=set(),
    )


CLASSES = (
    LatheControl,
    LatheLatent,
    LatheView,
    LatheMesh,
    LathePreview,
    LathePath,
    LatheComplete,
    LatheFit,
    LatheCapture,
    LatheField,
    LatheExport,
    LatheRemembered,
    LatheWalk,
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
