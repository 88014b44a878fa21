"""Why NeRF encodes positions: one small network memorises an image, with the encoding and without.

`python -m backend train image-memorisation --out FOLDER` trains the same network twice, from the position of a pixel to
its colour. A plain ReLU network learns low frequencies first and hardly ever gets to the high ones (the *spectral
bias*, arxiv.org/abs/2006.10739); given sines and cosines of the position (Eq. 4 of arxiv.org/abs/2003.08934) it learns
the picture. The folder gets `image_memorisation.png` (the image, without, with) and `figures.json`.

A killed run goes on from `state.safetensors` when it is started again with the same options.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Picture
from torch import Tensor, nn

from ...nerf.evaluate import psnr
from ...nerf.mlp.encodings import positional_encoding
from .demonstration import labelled_row, resumed, store

AUTOSAVE_SECONDS = 30.0


@dataclass(frozen=True)
class Memorisation:
    """One training run, the same for both networks but for `frequencies`."""

    size: int = 128  # pixels of the image's side
    frequencies: int = 10  # L of Eq. 4: as many as NeRF takes for positions
    depth: int = 4
    width: int = 256
    steps: int = 2000
    pixels_per_step: int = 2048
    rate: float = 1e-3  # Adam, halved cosine to 1 % of it
    seed: int = 0


class ImageNetwork(nn.Module):
    """Position in the image, [..., 2] in −1..1, to sRGB [..., 3] in 0..1. frequencies 0: a plain network."""

    def __init__(self, frequencies: int, depth: int, width: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        widths = [2 + 4 * frequencies, *[width] * depth]
        layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 3), nn.Sigmoid())

    def forward(self, positions: Tensor) -> Tensor:
        """See the class."""
        colors: Tensor = self.layers(positional_encoding(positions, self.frequencies))
        return colors


def pixel_positions(height: int, width: int) -> Tensor:
    """Pixel centres as (x, y) in −1..1: [height * width, 2]."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack((x, y), -1).reshape(-1, 2) * 2 - 1


def memorise(
    image: Tensor,  # [H, W, 3], 0..1
    config: Memorisation,
    state: Path | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Tensor:
    """Train one network on an image and return what it remembers, [H, W, 3].

    state: a file to go on from where it exists, and that is written every 30 s.

    Raises:
        ValueError: `state` belongs to another configuration.
    """
    positions, colors = pixel_positions(*image.shape[:2]), image.reshape(-1, 3)
    torch.manual_seed(config.seed)
    network = ImageNetwork(config.frequencies, config.depth, config.width)
    optimizer = torch.optim.Adam(network.parameters(), config.rate)
    step = resumed(state, asdict(config), network, optimizer)
    saved = time.monotonic()
    while step < config.steps:
        for group in optimizer.param_groups:
            group["lr"] = config.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / config.steps)))
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        chosen = torch.randint(len(positions), (config.pixels_per_step,), generator=random)
        loss = (network(positions[chosen]) - colors[chosen]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            report(f"L {config.frequencies}: step {step}/{config.steps}, {-10 * math.log10(loss.item()):.2f} dB")
        if state is not None and (time.monotonic() - saved > AUTOSAVE_SECONDS or step == config.steps):
            store(state, asdict(config), network, optimizer, step)
            saved = time.monotonic()
    with torch.no_grad():
        return network(positions).reshape(image.shape)


def read_image(path: Path | None, size: int) -> Tensor:
    """Return the square middle of an image at `size` pixels, [size, size, 3] in 0..1.

    None: "Chelsea the cat" of scikit-image, CC0 by Stéfan van der Walt.
    """
    if path is None:
        from skimage.data import chelsea

        picture = Picture.fromarray(chelsea()).crop((80, 15, 340, 275))
    else:
        picture = Picture.open(path).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    small = picture.crop((left, top, left + side, top + side)).resize((size, size), Picture.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, np.float32) / 255)


def demonstrate(
    image: Tensor, config: Memorisation, out: Path, report: Callable[[str], None] = lambda text: None
) -> dict[str, float]:
    """Memorise an image without and with the encoding; write the picture and return the figures (PSNR in dB)."""
    out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    panels = {"image": image}
    for name, frequencies in (("without", 0), ("with", config.frequencies)):
        one = Memorisation(**{**asdict(config), "frequencies": frequencies})
        found = memorise(image, one, out / f"{name}.safetensors", report)
        figures[f"psnr_{name}"] = round(psnr(found, image), 2)
        panels[f"{name} encoding {figures[f'psnr_{name}']:.1f} dB"] = found
    figures["gap"] = round(figures["psnr_with"] - figures["psnr_without"], 2)
    labelled_row(panels, side=256).save(out / "image_memorisation.png", optimize=True)
    (out / "figures.json").write_text(json.dumps({**figures, **asdict(config)}, indent=1) + "\n")
    return figures


def main(arguments: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m backend train image-memorisation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Memorisation()
    parser.add_argument("--out", type=Path, required=True, help="folder for the picture and the figures")
    parser.add_argument("--image", type=Path, help="an image file; a photograph of a cat if left out")
    parser.add_argument("--size", type=int, default=default.size, help="pixels of the side")
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--frequencies", type=int, default=default.frequencies, help="L of the encoding")
    parser.add_argument("--width", type=int, default=default.width, help="of the four hidden layers")
    parser.add_argument("--seed", type=int, default=default.seed)
    options = parser.parse_args(arguments)
    config = Memorisation(
        size=options.size,
        steps=options.steps,
        frequencies=options.frequencies,
        width=options.width,
        seed=options.seed,
    )

    def report(text: str) -> None:
        sys.stderr.write(text + "\n")

    figures = demonstrate(read_image(options.image, config.size), config, options.out, report)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
