"""Settings of trainings that a .blend file stores."""

import bpy
from bpy.props import StringProperty

from ..scene.option_properties import with_options
from ..wire.messages import TrainOptions


@with_options(TrainOptions)
class LatheTraining(bpy.types.PropertyGroup):
    """`scene.lathe.training`: model, images and options of a training."""

    model: StringProperty(
        name="Model", description="Model to train; empty is the first of the backend's list", options=set()
    )
    preset: StringProperty(
        name="Preset", description="Size of the networks and schedule; empty is the model's first", options=set()
    )
    folder: StringProperty(
        name="Images",
        description="Folder of the images of one class of objects, with cameras (transforms.json or dataset.json) or "
        "without. // is the folder of the .blend file",
        subtype="DIR_PATH",
        options=set(),
    )
    name: StringProperty(
        name="Name",
        description="Name of the trained model: letters, digits, '.', '-' and '_'. Empty uses the names of the folder "
        "and the model",
        options=set(),
    )


CLASSES = (LatheTraining,)
