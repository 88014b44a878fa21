"""Settings of captures and fits that a .blend file stores."""

import math

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    StringProperty,
)

from ..wire.messages import MAX_IMAGE_SIDE, MAX_SEED


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


CLASSES = (
    LatheCapture,
    LatheField,
)
