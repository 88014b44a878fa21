"""Training commands of π-GAN."""

from __future__ import annotations


def solid_object(arguments: list[str]) -> None:
    """Fit π-GAN or GRAF in the size of the paper to a solid object, for benchmarks."""
    from ...training.experiments.solid_object import main

    main(arguments)


RECIPES = {"solid-object": solid_object}
"""Name in `python -m backend train NAME` → command."""

TRAININGS = {"pigan": "backend.training.pigan.train"}
"""The same for adversarial trainings: name → module with its RECIPE."""
