"""Where the official vectors and checkpoints lie that some tests compare with."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
ORACLES = SHARED / "oracles"
CHECKPOINTS = ORACLES / "checkpoints"
