"""Official 3D-GAN generators → ours: the state dict of the PyTorch port that the parity vectors come from.

    layer1.0.weight                  ConvTranspose3d [z_dim, 8 ch, 4, 4, 4]
    layer1.1.{weight, bias, …}       BatchNorm3d
    …
    layer5.0.weight                  ConvTranspose3d [ch, 1, 4, 4, 4]; layer4.0.weight for 32³

Some files hold it under a prefix (`module.`, `generator.`), or in a dictionary beside the discriminator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from addon.wire.errors import UnknownCheckpoint

from ...checkpoints.convert import ConvertedModel, bijection, state_dict
from .model import Generator
from .scene import GAN3D

SIDES = (32, 64)
"""Voxels along a side of the networks in the paper."""

CLASSES = ("model.", "models.")
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "unknown (3dgan-release states none); data of its own terms"
CARD = """Imported from an official-style 3D-GAN generator, {side}³ voxels, z of {z_dim} numbers from U[0, 1].

- Paper: Wu et al. 2016, arxiv.org/abs/1610.07584. The official code states no licence.
- Orientation and size of its shapes are not in the file: the last index is taken as up, the edge of the cube as
  1 metre.
"""

_LAYER = re.compile(r"^layer(\d+)\.(\d)\.(\w+)$")


def recognise(tree: object) -> bool:
    """Return whether the tree has the state dict of a generator."""
    return next(_generators(tree), None) is not None


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert the generator to our model.

    Raises:
        UnknownCheckpoint: not 32³ or 64³, or not the layers of the paper.
    """
    official = next(_generators(tree), None)
    if official is None:
        raise UnknownCheckpoint(f"{path.name} holds no 3D-GAN generator (layer1.0.weight [z, channels, 4, 4, 4], …).")
    depth = max(int(match[1]) for match in map(_LAYER.match, official) if match)
    side = 2 << depth  # 4 after the first layer, doubled by each of the others
    if side not in SIDES:
        raise UnknownCheckpoint(
            f"{path.name} makes {side}³ voxels ({depth} layers); 3D-GANs of {SIDES[0]}³ (4 layers) and {SIDES[1]}³ "
            "(5 layers) can be imported."
        )
    z_dim = official["layer1.0.weight"].shape[0]
    channels = official[f"layer{depth}.0.weight"].shape[0]
    model = GAN3D(z_dim, channels, side, axes="xyz")
    model.generator.load_state_dict(generator_tensors(official, model.generator))
    return ConvertedModel(
        kind="gan3d",
        constructor={"z_dim": z_dim, "channels": channels, "side": side, "axes": "xyz"},
        tensors=model.state_dict(),
        licence=LICENCE,
        non_commercial=True,
        label=f"3D-GAN {path.stem}",
        description=f"Voxel shapes, {side}³",
        card=CARD.format(side=side, z_dim=z_dim),
    )


def generator_tensors(official: Mapping[str, Tensor], generator: Generator) -> dict[str, Tensor]:
    """The official state dict under our names."""
    last = len(generator.layers) + 1

    def ours(name: str) -> str:
        match = _LAYER.match(name)
        if match is None:
            return name
        number = int(match[1])
        return (
            f"output.{match[3]}" if (number, match[2]) == (last, "0") else f"layers.{number - 1}.{match[2]}.{match[3]}"
        )

    return bijection(official, generator.state_dict(), rename=ours)


def _generators(tree: object, depth: int = 2) -> Iterator[dict[str, Tensor]]:
    """State dicts in the tree that are a 3D-GAN's generator, without their prefix."""
    tensors = state_dict(tree)
    for prefix in {name.removesuffix("layer1.0.weight") for name in tensors if name.endswith("layer1.0.weight")}:
        if tensors[f"{prefix}layer1.0.weight"].ndim == 5 and tensors[f"{prefix}layer1.0.weight"].shape[1] > 1:
            under = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            # of a discriminator the first layer takes one channel
            if (
                f"{prefix}layer1.1.weight" in tensors
                and under["layer1.1.weight"].shape[0] == (under["layer1.0.weight"].shape[1])
            ):
                yield under
    if isinstance(tree, Mapping) and depth:
        for child in tree.values():
            if isinstance(child, Mapping):
                yield from _generators(child, depth - 1)
