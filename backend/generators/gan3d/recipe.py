"""Training commands of 3D-GAN."""

from __future__ import annotations


def gan3d(arguments: list[str]) -> None:
    """Train a 3D-GAN on voxelised shapes."""
    from ...training.gan3d.train import main

    main(arguments)


def image_to_shape(arguments: list[str]) -> None:
    """Train the image encoder of a 3D-GAN (3D-VAE-GAN) on renders and voxels."""
    from ...training.gan3d.image_to_shape import main

    main(arguments)


RECIPES = {"gan3d": gan3d, "image-to-shape": image_to_shape}
"""Name in `python -m backend train NAME` → command."""
