"""The pinned packages of Set Up, with the sha256 of their wheels. Standard library only.

`requirements-lock.txt` pins everything for all platforms from the package index; `requirements-torch.json` has the
hashes of the builds of PyTorch that only PyTorch's own indexes have. Both are made by `python build.py lock`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

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
