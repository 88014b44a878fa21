"""Errors of meshing. Each error is a sentence for the user, with a remedy as data where there
is one.

MeshingError (a ValueError)
 + InvalidGrid       resolution or bounds that make no lattice
 + InvalidField      the field returned something else than one finite number for each point
 + LevelOutOfRange   every value lies on one side of the level
 + EmptySurface      the level is crossed nowhere that was looked at
 + InvalidMesh       arrays that are not a mesh, or a mesh that lacks what a step needs
 + UnknownFormat     a file name that ends in no format known here
 + CannotWrite       no such folder, no permission, disk full
 + CannotRead        a file that is not the mesh it should be
"""

from __future__ import annotations

from typing import Any


class MeshingError(ValueError):
    """The root of the tree.

    `remedy` holds `action`, `label` and `value`, the fields of the wire's Remedy, or is None.
    """

    def __init__(self, message: str, *, remedy: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class InvalidGrid(MeshingError):
    """Resolution or bounds that make no lattice."""


class InvalidField(MeshingError):
    """The field did not return one finite number for each point."""


class LevelOutOfRange(MeshingError):
    """Every value lies on one side of the level."""

    def __init__(self, level: float, observed: tuple[float, float]) -> None:
        low, high = observed
        self.level = level
        self.observed = observed
        if low == high:
            super().__init__(
                f"There is no surface: the field is {low:.6g} everywhere. Choose another latent, model or region.",
                remedy={"action": "choose_model", "label": "Choose another model", "value": None},
            )
            return
        self.suggested_level = (low + high) / 2
        super().__init__(
            f"There is no surface at level {level:.6g}: the field lies between {low:.6g} and {high:.6g} here. "
            f"Use a level inside that range, such as {self.suggested_level:.6g}.",
            remedy={"action": "set_level", "label": "Use a level in range", "value": self.suggested_level},
        )


class EmptySurface(MeshingError):
    """The field crosses the level at no sampled point."""


class InvalidMesh(MeshingError):
    """Arrays that are not a mesh, or a mesh that lacks what a step needs."""


class UnknownFormat(MeshingError):
    """A file name that ends in no format known here."""


class CannotWrite(MeshingError):
    """No such folder, no permission, disk full."""


class CannotRead(MeshingError):
    """A file that is not the mesh it should be."""
