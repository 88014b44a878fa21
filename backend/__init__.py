"""The process that computes: the only code that imports torch. `python -m backend --help` lists what it does."""

import os
import tomllib
from pathlib import Path

# Threads that wait for the next small operation must not spin on the cores that kernels run on; read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _version() -> str:
    manifest = Path(__file__).resolve().parent.parent / "blender_manifest.toml"
    return str(tomllib.loads(manifest.read_text(encoding="utf-8"))["version"])


VERSION = _version()
