"""Training commands of NeRF."""

from __future__ import annotations


def image_memorisation(arguments: list[str]) -> None:
    """Fit one image with and without positional encoding."""
    from ...training.experiments.image_memorisation import main

    main(arguments)


def positional_encoding(arguments: list[str]) -> None:
    """Fit a scene with and without positional encoding (ablation of the NeRF paper)."""
    from ...training.experiments.positional_encoding import main

    main(arguments)


RECIPES = {"image-memorisation": image_memorisation, "positional-encoding": positional_encoding}
"""Name in `python -m backend train NAME` → command."""
