"""The child of a test module: Blender with the extension installed, calling test functions that are named on stdin."""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
import traceback
import types
from pathlib import Path

import bpy

from tests.addon.fake_backend import make_root
from tests.blender import helpers

PACKAGE = "bl_ext.user_default.latent_lathe"


class Lathe(types.SimpleNamespace):
    """The installed add-on's modules as attributes, always those that are loaded now."""

    def __getattr__(self, name: str) -> types.ModuleType:
        return importlib.import_module(f"{PACKAGE}.addon.{name}")


def reset(lathe: Lathe, root: Path) -> None:
    """Start a test with an empty file, no backend and default preferences, and a small fake in the backend's place."""
    session = lathe.link.session.session
    session.stop(2.0)
    session.jobs.cancel_all(loading=True)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=False)
    session.__init__()
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    for name in ("python", "device", "torch_build", "index_url", "wheels", "data", "port"):
        preferences.property_unset(name)
    preferences.python = os.environ.get("LATENT_LATHE_BACKEND_PYTHON", sys.executable)  # another one under --bpy
    lathe.preferences.extension_root = lambda: root
    lathe.preferences.configure(bpy.context)


def main() -> None:
    module_name, extension = sys.argv[1:]
    answers = os.fdopen(99, "w")
    assert bpy.ops.extensions.package_install_files(
        repo="user_default", filepath=extension, enable_on_install=True, overwrite=True
    ) == {"FINISHED"}
    root = make_root(Path(tempfile.mkdtemp()) / "root")
    lathe = Lathe()
    module = importlib.import_module(f"tests.blender.{module_name}")
    for place in (module, helpers):
        place.bpy, place.lathe = bpy, lathe
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            reset(lathe, root)
            getattr(module, name)(**arguments)
            answer = ""
        except BaseException:
            answer = traceback.format_exc()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    lathe.link.session.session.stop(2.0)
    sys.stdout.flush()
    os._exit(0)


main()
