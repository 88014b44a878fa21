"""What belongs to this computer and not to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .link import environment
from .link.session import Settings, session

PACKAGE = __package__.rpartition(".")[0] or __package__
"""The extension's own name, bl_ext.<repository>.latent_lathe."""


def _python_changed(self, context):
    """Let the buttons know at once that there is a Python."""
    configure(context)


class LathePreferences(bpy.types.AddonPreferences):
    """Preferences > Add-ons > Latent Lathe."""

    bl_idname = PACKAGE

    python: StringProperty(
        name="Python",
        description="A Python that already has the backend's packages. Empty uses the one that Set Up makes",
        subtype="FILE_PATH",
        update=_python_changed,
    )
    device: EnumProperty(
        name="Device",
        description="What the backend computes on",
        items=(
            ("AUTO", "Automatic", "The graphics card if PyTorch can use it, the processor otherwise"),
            ("CPU", "Processor", "Works everywhere"),
            ("CUDA", "CUDA / ROCm", "An NVIDIA or AMD graphics card"),
            ("MPS", "Apple GPU", "Apple silicon"),
        ),
    )
    torch_build: EnumProperty(
        name="PyTorch",
        description="Which build of PyTorch Set Up downloads",
        items=(
            ("AUTO", "Automatic", "Chosen by the graphics card found on this computer"),
            ("CPU", "CPU", "The smallest download; works everywhere"),
            ("CUDA", "CUDA", "For NVIDIA graphics cards"),
            ("ROCM", "ROCm", "For AMD graphics cards, Linux only"),
            ("MPS", "Apple", "For Apple silicon"),
        ),
    )
    index_url: StringProperty(
        name="Package Index",
        description="Download PyTorch from this package index in place of the usual one; PYPI stands for pip's own",
    )
    wheels: StringProperty(
        name="Wheels Folder",
        description="Install from the wheel files in this folder and do not use the internet",
        subtype="DIR_PATH",
    )
    data: StringProperty(
        name="Data Folder",
        description="Where the backend keeps models, jobs and uploads. Empty is the system's usual place",
        subtype="DIR_PATH",
    )
    port: IntProperty(
        name="Port",
        description="Port of the backend on this computer; 0 lets the system choose a free one",
        min=0,
        max=65535,
    )

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        column = layout.column()
        column.prop(self, "python")
        column.prop(self, "device")
        column.prop(self, "data")
        column.prop(self, "port")
        column = layout.column(heading="Set Up")
        column.prop(self, "torch_build")
        column.prop(self, "index_url")
        column.prop(self, "wheels")


def preferences(context: Any) -> Any:
    """Return the add-on's preferences."""
    return context.preferences.addons[PACKAGE].preferences


def extension_root() -> Path:
    """Return the folder that holds addon/ and backend/."""
    return Path(__file__).resolve().parent.parent


def user_folder() -> Path:
    """Return the folder that this extension may write to."""
    return Path(bpy.utils.extension_path_user(PACKAGE, create=True))


def configure(context: Any) -> Settings:
    """Read the preferences into the session and return them."""
    chosen = preferences(context)
    folder = user_folder()
    made = environment.ready_python(environment.environment_folder(folder))
    python = Path(bpy.path.abspath(chosen.python)) if chosen.python else made
    session.settings = Settings(
        python,
        extension_root(),
        folder,
        Path(bpy.path.abspath(chosen.data)) if chosen.data else None,
        chosen.device.lower(),
        chosen.port,
    )
    return session.settings


register, unregister = bpy.utils.register_classes_factory((LathePreferences,))
