"""The process that computes: the only code that imports torch. `python -m backend --help` lists what it does."""

import tomllib
from pathlib import Path


def _version() -> str:
    manifest = Path(__file__).resolve().parent.parent / "blender_manifest.toml"
    return str(tomllib.loads(manifest.read_text(encoding="utf-8"))["version"])


VERSION = _version()
