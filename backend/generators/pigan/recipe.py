"""Training commands of π-GAN."""

from __future__ import annotations


def solid_object(arguments: list[str]) -> None:
    """Fit the published network of π-GAN or GRAF to a solid object, for benchmarks."""
    from ...training.experiments.solid_object import main

    main(arguments)


RECIPES = {"solid-object": solid_object}
"""Name in `python -m backend train NAME` → command."""
