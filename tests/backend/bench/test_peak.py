"""Peak memory is measured in processes that import nothing else."""

from __future__ import annotations

import subprocess
import sys

import build

CHILD = """
import sys
from backend.bench.meshing import BOUNDS, sphere
from backend.bench.peak import peak_bytes
assert "torch" not in sys.modules
before = peak_bytes()
kept = bytearray(100_000_000)
kept[::4096] = b"x" * len(kept[::4096])
print(peak_bytes() - before)
"""


def test_the_peak_of_a_process_grows_by_what_it_allocates_and_does_not_import_pytorch() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], cwd=build.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 0.9e8 < int(done.stdout) < 2e8
