"""Training commands of the hash field."""

from __future__ import annotations


def pose_refinement(arguments: list[str]) -> None:
    """Refine perturbed camera poses during a fit (BARF)."""
    from ...training.experiments.pose_refinement import main

    main(arguments)


def representations(arguments: list[str]) -> None:
    """Compare dense grid, hash grid, tri-plane and MLP at equal surface error on a mesh."""
    from ...training.experiments.representations.comparison import main

    main(arguments)


RECIPES = {"pose-refinement": pose_refinement, "representations": representations}
"""Name in `python -m backend train NAME` → command."""
