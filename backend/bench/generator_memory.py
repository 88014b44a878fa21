"""Peak memory of a process that renders two images by one path; `generators` starts it as a child process.

`python -m backend.bench.generator_memory CASE PATH WEIGHTS TINY DEVICE` prints MB: on CUDA of the device's memory that
PyTorch allocated, else of the process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..device import device_of
from .clock import peak_bytes_on
from .generators import CASES, Renders


def main(arguments: list[str]) -> None:
    """Render an image, then another of the same kind, and print the peak."""
    name, path, weights, tiny, where = arguments
    device = device_of(where)
    if path not in ("reference", "new"):
        raise ValueError(f"PATH must be reference or new, got {path!r}")
    case = CASES[name]
    renders = Renders(case, Path(weights), device, tiny=tiny == "1", size=16 if tiny == "1" else case.memory_size)
    for camera in (renders.first, renders.other):
        renders.take("reference" if path == "reference" else "new", camera)
    sys.stdout.write(f"{peak_bytes_on(device) / 2**20:.1f}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
