"""The peak memory of a process that takes two pictures by one path; `generators` starts it as a process of its own.

`python -m backend.bench.generator_memory CASE PATH WEIGHTS TINY` writes MB.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .generators import CASES, Pictures
from .peak import peak_bytes


def main(arguments: list[str]) -> None:
    """Take a picture, then another of the same kind, and write the peak."""
    name, path, weights, tiny = arguments
    if path not in ("reference", "new"):
        raise ValueError(f"PATH must be reference or new, got {path!r}")
    case = CASES[name]
    pictures = Pictures(case, Path(weights), tiny=tiny == "1", size=16 if tiny == "1" else case.memory_size)
    for camera in (pictures.first, pictures.other):
        pictures.take("reference" if path == "reference" else "new", camera)
    sys.stdout.write(f"{peak_bytes() / 2**20:.1f}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
