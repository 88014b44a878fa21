"""Procedural families: any number of different objects of one class, as coloured meshes, in milliseconds each.

World of every object: right-handed, Z up, the front along −Y, the centre of the bounding box at the origin, the
farthest vertex at `solids.BOUND`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .animals import animal
from .chairs import chair
from .solids import Part, assemble


@dataclass(frozen=True)
class Family:
    """A class of objects."""

    parts: Callable[[np.random.Generator], list[Part]]
    """Makes the parts of a random object, in any unit and place."""
    least_light: float = 0.0
    """Irradiance of the darkest creases (`mesh_views.bake_light`)."""

    def make(self, seed: int) -> Part:
        """Return the object of a seed, in the world of the families."""
        return assemble(self.parts(np.random.default_rng(seed)))


FAMILIES = {"animals": Family(animal, least_light=0.4), "chairs": Family(chair)}
