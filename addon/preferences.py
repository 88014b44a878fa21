"""The add-on's preferences: settings of this computer rather than of a .blend file."""

from pathlib import Path
from typing import Any

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from .link import environment
from .link.session import Settings, session

PACKAGE = __package__.rpartition(".")[0] or __package__
"""The extension's own name, bl_ext.<repository>.latent_lathe."""


def _python_changed(self: Any, context: Any) -> None:
    """Enable the operators that need a Python at once."""
    configure(context)


class LathePreferences(bpy.types.AddonPreferences):
    """Preferences > Add-ons > Latent Lathe."""

    bl_idname = PACKAGE

    python: StringProperty(
        name="Python",
        description="A Python that already has the backend's packages. Empty uses the one that Set Up installs",
        subtype="FILE_PATH",
        update=_python_changed,
    )
    device: EnumProperty(
        name="Device",
        description="Device the backend computes on",
        items=(
            ("AUTO", "Automatic", "The graphics card if PyTorch can use it, otherwise the processor"),
            ("CPU", "Processor", "Works everywhere"),
            ("CUDA", "CUDA / ROCm", "An NVIDIA or AMD graphics card"),
            ("MPS", "Apple GPU", "Apple silicon"),
        ),
    )
    torch_build: EnumProperty(
        name="PyTorch",
        description="Build of PyTorch that Set Up downloads",
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
        description="Package index to download PyTorch from instead of the default one; PYPI stands for pip's own",
    )
    wheels: StringProperty(
        name="Wheels Folder",
        description="Install from the wheel files in this folder and do not use the internet",
        subtype="DIR_PATH",
    )
    data: StringProperty(
        name="Data Folder",
        description="Folder for models, jobs and uploads of the backend. Empty uses the system's default",
        subtype="DIR_PATH",
    )
    port: IntProperty(
        name="Port",
        description="Port of the backend on this computer; 0 lets the system choose a free one",
        min=0,
        max=65535,
    )

    def draw(self, context: Any) -> None:
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
