"""Training commands of HoloGAN."""

from __future__ import annotations


def hologan(arguments: list[str]) -> None:
    """Train HoloGAN on unposed images."""
    from ...training.hologan.train import main

    main(arguments)


RECIPES = {"hologan": hologan}
"""Name in `python -m backend train NAME` → command."""
