"""Packages of a Python environment: builds of PyTorch, pins with hashes, interrupted installations.

Standard library only: `build.py` imports this, too.

`requirements-lock.txt` pins everything for all platforms from the package index; `requirements-torch.json` has the
hashes of the builds of PyTorch that only PyTorch's own indexes have. Both are made by `python build.py lock`.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TorchBuild:
    """Source of PyTorch for a kind of device."""

    label: str
    index: str  # a package index, or empty for pip's own
    reason: str
    has_locked_release: bool = False  # whether the index was seen to have the release that the lock pins


PYTORCH = "https://download.pytorch.org/whl"

TORCH_BUILDS: dict[tuple[str, str], TorchBuild] = {
    ("cpu", "linux"): TorchBuild(
        "CPU", f"{PYTORCH}/cpu", "PyPI's Linux build brings 2 GB of CUDA that is not needed", has_locked_release=True
    ),
    ("cpu", "win32"): TorchBuild("CPU", "", "PyPI's Windows build is the CPU build"),
    ("cpu", "darwin"): TorchBuild("CPU", "", "PyPI's macOS build has both CPU and Apple GPU"),
    ("mps", "darwin"): TorchBuild("Apple GPU", "", "PyPI's macOS build has both CPU and Apple GPU"),
    ("cuda", "linux"): TorchBuild("CUDA", "", "PyPI's Linux build is the CUDA build"),
    ("cuda", "win32"): TorchBuild("CUDA", f"{PYTORCH}/cu128", "PyPI's Windows build has no CUDA"),
    ("rocm", "linux"): TorchBuild("ROCm", f"{PYTORCH}/rocm6.4", "AMD's build is on PyTorch's own index alone"),
}


LOCK = "requirements-lock.txt"
TORCH_HASHES = "requirements-torch.json"
TORCH_PACKAGES = re.compile(r"(torch|triton|cuda-.*|nvidia-.*)$")
"""PyTorch, and what only its CUDA build needs."""


@dataclass(frozen=True)
class Lock:
    """Entries of a requirements file by package name: pin, marker and hashes, as pip reads them."""

    torch: str  # the entries of TORCH_PACKAGES
    packages: str  # the others, those that PyTorch itself needs included
    torch_builds: dict[str, str]  # "cpu linux" → PyTorch's entry with the hashes of that index

    @property
    def torch_release(self) -> str:
        """Release of PyTorch that is pinned."""
        found = re.search(r"^torch==([\w.]+)", self.torch, re.MULTILINE)
        return found[1] if found else ""

    @property
    def names(self) -> set[str]:
        """Names of all pinned packages."""
        return set(re.findall(r"^([\w.-]+)==", self.torch + self.packages, re.MULTILINE))


def read_lock(root: Path) -> Lock | None:
    """Return the lock of an extension folder, or None if it has none (an older version)."""
    try:
        text = (root / LOCK).read_text("utf-8")
        builds = json.loads((root / TORCH_HASHES).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    entries = re.findall(r"^[\w.-]+==.*?[0-9a-f]{64}\n(?!    )", text, re.MULTILINE | re.DOTALL)
    parts: dict[bool, list[str]] = {True: [], False: []}
    for entry in entries:
        parts[bool(TORCH_PACKAGES.match(entry.partition("==")[0]))].append(entry)
    return Lock("".join(parts[True]), "".join(parts[False]), {key: _entry(**value) for key, value in builds.items()})


def _entry(version: str, hashes: list[str]) -> str:
    return " \\\n".join([f"torch=={version}", *(f"    --hash=sha256:{digest}" for digest in hashes)]) + "\n"


def python_of(folder: Path) -> Path:
    """Return where the Python of an environment is."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def drop_half_installed(environment: Path) -> None:
    """Forget packages whose installation was interrupted: pip counts them as installed, but writes RECORD last."""
    for metadata in environment.glob("**/site-packages/*.dist-info/METADATA"):
        if not all((metadata.parent / name).is_file() for name in ("INSTALLER", "RECORD")):
            shutil.rmtree(metadata.parent)
