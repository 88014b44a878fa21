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

from ..scene.option_properties import option_property
from ..wire.messages import MAX_IMAGE_SIDE, MAX_SEED, FitOptions, SfmRequest, ViewsRequest


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
    views: option_property(ViewsRequest, "count")
    max_images: option_property(SfmRequest, "max_images", default=150)
    max_size: option_property(SfmRequest, "max_size")
    preset: option_property(FitOptions, "preset")
    seconds: option_property(FitOptions, "seconds")
    steps: option_property(FitOptions, "steps")
    more_seconds: FloatProperty(
        name="Go On for",
        description="How many seconds a fit that came to its end goes on when it is continued",
        default=60.0,
        min=1.0,
        max=24 * 3600.0,
        options=set(),
    )
    method: option_property(FitOptions, "method")
    background: option_property(FitOptions, "background")
    color_space: option_property(FitOptions, "color_space")
    unbounded: option_property(FitOptions, "unbounded")
    appearance: option_property(FitOptions, "appearance")
    use_masks: option_property(FitOptions, "use_masks")
    depth_weight: option_property(FitOptions, "depth_weight")
    flip_axes: option_property(FitOptions, "flip_axes")
    refine_poses: option_property(FitOptions, "refine_poses")
    near: option_property(FitOptions, "near")
    distortion_weight: option_property(FitOptions, "distortion_weight", precision=4)
    opacity_weight: option_property(FitOptions, "opacity_weight", precision=4)
    seed: option_property(FitOptions, "seed")


CLASSES = (
    LatheCapture,
    LatheField,
)
