"""Training commands of DeepSDF."""

from __future__ import annotations


def deepsdf(arguments: list[str]) -> None:
    """Train a DeepSDF decoder and its latent codes on signed-distance samples."""
    from ...training.deepsdf.train import main

    main(arguments)


RECIPES = {"deepsdf": deepsdf}
"""Name in `python -m backend train NAME` → command."""
