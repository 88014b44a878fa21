"""Training commands of Visual Object Networks."""

from __future__ import annotations


def von(arguments: list[str]) -> None:
    """Train the texture networks of Visual Object Networks on images and 2.5D sketches."""
    from ...training.von.train import main

    main(arguments)


def von_shapes(arguments: list[str]) -> None:
    """Train the shape network of Visual Object Networks on signed distances of shapes."""
    from ...training.von.shapes import main

    main(arguments)


RECIPES = {"von": von, "von-shapes": von_shapes}
"""Name in `python -m backend train NAME` → command."""
