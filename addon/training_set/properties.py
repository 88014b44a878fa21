"""Settings of training sets that a .blend file stores."""

import math

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..scene.option_properties import with_options
from ..wire.messages import MAX_SEED, TrainingSetRequest


def _range(name: str, description: str, low: float, high: float, limit: float, angle: bool = True) -> object:
    """Return the property of a range: lowest and highest value."""
    values = (math.radians(low), math.radians(high)) if angle else (low, high)
    limit = math.radians(limit) if angle else limit
    return FloatVectorProperty(
        name=name,
        description=description,
        size=2,
        default=values,
        min=-limit if angle else 0.0,
        max=limit,
        unit="ROTATION" if angle else "NONE",
        options=set(),
    )


@with_options(TrainingSetRequest)
class LatheTrainingSet(bpy.types.PropertyGroup):
    """`scene.lathe.training_set`: renders of many objects of one class."""

    source: EnumProperty(
        name="From",
        description="Source of the objects",
        items=(
            ("COLLECTION", "Collection", "The objects of a collection, rendered by Blender"),
            ("FAMILY", "Family", "A procedural family, rendered by the backend"),
        ),
        default="COLLECTION",
        options=set(),
    )
    collection: PointerProperty(
        type=bpy.types.Collection,
        name="Collection",
        description="Each object in it with its children, and each child collection, is one object of the class. They "
        "face −Y",
        options=set(),
    )
    folder: StringProperty(
        name="Folder",
        description="Folder of the training set; one that was begun is continued. // is the folder of the .blend file",
        subtype="DIR_PATH",
        default="//lathe_training_set",
        options=set(),
    )
    count: IntProperty(
        name="Images",
        description="Number of images of all objects together. A generator needs some thousands; 64 are the least",
        default=2000,
        min=1,
        max=1_000_000,
        options=set(),
    )
    pixels: IntProperty(
        name="Resolution", description="Pixels along each side", default=128, min=16, max=1024, options=set()
    )
    seed: IntProperty(name="Seed", description="Seed of the viewpoints and lights", min=0, max=MAX_SEED, options=set())
    azimuth: _range("Azimuth", "Range of the viewpoints around the object; 0 sees its front", -180, 180, 180)
    elevation: _range("Elevation", "Range of the viewpoints above the horizon", -10, 45, 85)
    fov: FloatProperty(
        name="Field of View",
        description="Of the camera; its distance is such that the object's sphere fills the image",
        default=math.radians(30),
        min=math.radians(2),
        max=math.radians(120),
        subtype="ANGLE",
        options=set(),
    )
    light: EnumProperty(
        name="Light",
        description="Light of the images",
        items=(
            ("SUN", "Random Sun", "A sun from a random direction, and uniform light from all sides"),
            ("SCENE", "Scene", "The lights and the world of the scene"),
        ),
        default="SUN",
        options=set(),
    )
    sun_azimuth: _range("Sun Azimuth", "Range of the sun's directions around the object; 0 is its front", -60, 60, 180)
    sun_elevation: _range("Sun Elevation", "Range of the sun's height", 30, 70, 90)
    sun_strength: _range("Sun Strength", "Range of the sun's strength", 2.5, 3.5, 1000, angle=False)
    ambient: FloatProperty(
        name="Ambient", description="Strength of the light from all sides", default=0.6, min=0, max=1000, options=set()
    )
    overwrite: BoolProperty(
        name="Overwrite",
        description="Render every image again. If off, existing images are kept, and a set with other settings is not "
        "touched. Changes of shapes, lights and materials are not detected",
        options=set(),
    )


CLASSES = (LatheTrainingSet,)
