"""Training commands of EditNeRF."""

from __future__ import annotations


def editnerf(arguments: list[str]) -> None:
    """Train an EditNeRF, a conditional radiance field, on posed images of a family of objects."""
    from ...training.editnerf.train import main

    main(arguments)


RECIPES = {"editnerf": editnerf}
"""Name in `python -m backend train NAME` → command."""
