"""The peak memory of a process that takes two pictures by one path; `generators` starts it as a process of its own.

`python -m backend.bench.generator_memory CASE PATH WEIGHTS TINY` writes MB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from .generators import CASES, Pictures


def peak() -> float:
    """Peak of this process's resident memory, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what the parent had when it forked
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):
        return float(memory.peak_wset) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on a Mac


def main(arguments: list[str]) -> None:
    """Take a picture, then another of the same kind, and write the peak."""
    name, path, weights, tiny = arguments
    if path not in ("straightforward", "new"):
        raise ValueError(f"PATH must be straightforward or new, got {path!r}")
    case = CASES[name]
    pictures = Pictures(case, Path(weights), tiny=tiny == "1", size=16 if tiny == "1" else case.memory_size)
    for camera in (pictures.first, pictures.other):
        pictures.take("straightforward" if path == "straightforward" else "new", camera)
    sys.stdout.write(f"{peak():.1f}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
