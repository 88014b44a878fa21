"""Peak memory of this process. Imports no PyTorch, which would count."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil


def peak_bytes() -> int:
    """Return the largest resident size of this process so far. On Linux this is the kernel's high-water mark: getrusage
    would begin with the size of the parent at its fork."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return int(memory.peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
