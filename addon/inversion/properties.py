"""Settings of inversions that a .blend file stores."""

import bpy
from bpy.props import PointerProperty, StringProperty

from ..scene.option_properties import with_options
from ..wire.messages import InversionOptions


@with_options(InversionOptions)
class LatheInversion(bpy.types.PropertyGroup):
    """`scene.lathe.inversion`: the photograph and the options of an inversion."""

    image: PointerProperty(
        type=bpy.types.Image,
        name="Photo",
        description="Photograph of an object of the model's class. Its alpha, if it has one, masks the object",
        options=set(),
    )
    mask: PointerProperty(
        type=bpy.types.Image,
        name="Mask",
        description="Image of the photograph's size, white on the object. It replaces the alpha",
        options=set(),
    )
    model_name: StringProperty(
        name="Name",
        description="Name of the tuned model: letters, digits, '.', '-' and '_'. Empty uses the names of the model and "
        "the photograph",
        options=set(),
    )


CLASSES = (LatheInversion,)
