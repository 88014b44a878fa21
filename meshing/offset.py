"""Coordinates far from the origin, as maps have them (UTM): what to take off before they become float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

FAR = 100.0
"""Times the extent of what is there: farther from the origin, float32 loses digits that are needed."""

Offset = tuple[float, float, float]
NONE: Offset = (0.0, 0.0, 0.0)


def offset_of(points: NDArray[np.floating[Any]]) -> Offset:
    """Return what is to be taken off points [N, 3] so that float32 keeps their digits; 0, 0, 0 where they are near
    enough to the origin, or all at one place. The numbers are round: they are easier to take off elsewhere, too."""
    middle = np.median(points, axis=0)
    extent = float(np.linalg.norm(points - middle, axis=1).max())
    if float(np.linalg.norm(middle)) <= FAR * extent or extent == 0:
        return NONE
    x, y, z = np.round(middle, -math.floor(math.log10(extent))).tolist()
    return (x, y, z)


def shown(offset: Offset) -> str:
    """Return an offset for a sentence."""
    return "(" + ", ".join(f"{x:.15g}" for x in offset) + ")"
