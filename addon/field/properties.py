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

from ..scene.option_properties import option_property, with_options
from ..wire.messages import MAX_IMAGE_SIDE, MAX_SEED, FitOptions, SfmRequest, ViewsRequest


class LatheCapture(bpy.types.PropertyGroup):
    """`scene.lathe.capture`: renders of the Blender scene from all sides."""

    rig: EnumProperty(
        name="Rig",
        description="Placement of the cameras",
        items=(
            ("ORBIT", "Orbit", "On a circle around the target"),
            ("HEMISPHERE", "Hemisphere", "Around and above the target"),
            ("SPHERE", "Sphere", "Around, above and below the target"),
            ("PATH", "Camera Path", "Along the scene's active camera over the frame range"),
        ),
        default="HEMISPHERE",
        options=set(),
    )
    target: EnumProperty(
        name="Target",
        description="Objects that the cameras are aimed at. The images contain everything that is rendered",
        items=(
            ("SELECTED", "Selected", "The selected objects"),
            ("SCENE", "Whole Scene", "All objects that are rendered"),
        ),
        default="SELECTED",
        options=set(),
    )
    count: IntProperty(
        name="Images",
        description="Number of training images. 100 suit an object, 30 a quick test",
        default=100,
        min=2,
        max=4000,
        options=set(),
    )
    test: IntProperty(
        name="Test Images",
        description="Number of additional images that are not used for training, to measure the quality of the fit",
        default=10,
        min=0,
        max=4000,
        options=set(),
    )
    size: IntProperty(
        name="Resolution",
        description="Pixels along the longer side of each image. The aspect is that of the scene's render settings",
        default=256,
        min=16,
        max=MAX_IMAGE_SIDE,
        options=set(),
    )
    elevation: FloatProperty(
        name="Elevation",
        description="Elevation angle of the orbit, seen from the centre of the target",
        default=math.radians(25),
        min=math.radians(-85),
        max=math.radians(85),
        subtype="ANGLE",
        options=set(),
    )
    fill: FloatProperty(
        name="Fill",
        description="Fraction of the image that the target fills",
        default=0.95,
        min=0.05,
        max=1.0,
        subtype="FACTOR",
        options=set(),
    )
    transparent: BoolProperty(
        name="Transparent",
        description="Render with a transparent background, so that only the objects are fitted",
        default=True,
        options=set(),
    )
    depth: BoolProperty(name="Depth", description="Also write the depth of each image", options=set())
    normal: BoolProperty(name="Normals", description="Also write the normals of each image", options=set())
    mask: BoolProperty(name="Masks", description="Also write a mask of the target for each image", options=set())
    seed: IntProperty(name="Seed", description="Seed of the rotation of the rig", min=0, max=MAX_SEED, options=set())
    overwrite: BoolProperty(
        name="Overwrite",
        description="Render every image again. If off, existing images with the same camera, target and settings are "
        "skipped. Changes of lights and materials are not detected",
        options=set(),
    )


@with_options(FitOptions, distortion_weight={"precision": 4}, opacity_weight={"precision": 4})
class LatheFieldFit(bpy.types.PropertyGroup):
    """`scene.lathe.field`: the images and options of a fit."""

    source: EnumProperty(
        name="From",
        description="Source of the images",
        items=(
            ("SCENE", "Scene", "Renders of the Blender scene"),
            ("FOLDER", "Data Set", "A folder of images with cameras: transforms.json or COLMAP"),
            ("PHOTOS", "Photos", "Photographs or a video, whose cameras are estimated first"),
        ),
        default="SCENE",
        options=set(),
    )
    name: StringProperty(
        name="Name",
        description="Name of the field: letters, digits, '.', '-' and '_'. Empty uses the name of the file or folder",
        options=set(),
    )
    data_sets: StringProperty(
        name="Data Sets",
        description="Folder for captures and photographs with estimated cameras, each in a folder of its own. // is "
        "the folder of the .blend file",
        subtype="DIR_PATH",
        default="//lathe_data_sets",
        options=set(),
    )
    folder: StringProperty(
        name="Folder",
        description="A folder of images with cameras: transforms.json of NeRF-synthetic, nerfstudio or instant-ngp, "
        "or a COLMAP model",
        subtype="DIR_PATH",
        options=set(),
    )
    photos: StringProperty(
        name="Photos",
        description="A folder of photographs, any photograph in it, or a video",
        subtype="FILE_PATH",
        options=set(),
    )
    views: option_property(ViewsRequest, "count")
    max_images: option_property(SfmRequest, "max_images", default=150)
    max_size: option_property(SfmRequest, "max_size")
    more_seconds: FloatProperty(
        name="Continue for",
        description="Seconds by which Continue extends a finished fit",
        default=60.0,
        min=1.0,
        max=24 * 3600.0,
        options=set(),
    )


CLASSES = (
    LatheCapture,
    LatheFieldFit,
)
