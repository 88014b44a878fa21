"""Memorise an image with a small network, with and without positional encoding.

`python -m backend train image-memorisation --out FOLDER` trains the same network twice, from the position of a pixel to
its colour. A plain ReLU network learns low frequencies first and high ones hardly at all (the *spectral bias*,
arxiv.org/abs/2006.10739); given sines and cosines of the position (Eq. 4 of arxiv.org/abs/2003.08934) it learns the
image. The folder gets `image_memorisation.png` (the image, without, with) and `figures.json`.

A killed run resumes when it is started again with the same options.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PIL
from torch import Tensor, nn

from addon.wire.errors import UnreadableFile

from ...nerf.evaluate import psnr
from ...nerf.mlp.encodings import positional_encoding
from ..images import labelled_row
from ..runs import Loop, State, device_of, log, options, update

AUTOSAVE_SECONDS = 30.0


@dataclass(frozen=True)
class Memorisation:
    """One training run; only `frequencies` differs between the two networks."""

    size: int = 128  # pixels of the image's side
    frequencies: int = 10  # L of Eq. 4: NeRF's number for positions
    depth: int = 4
    width: int = 256
    steps: int = 2000
    pixels_per_step: int = 2048
    rate: float = 1e-3  # Adam, with a cosine decay to 1 % of it
    seed: int = 0


class ImageNetwork(nn.Module):
    """MLP from image positions [..., 2], −1..1, to sRGB [..., 3], 0..1. frequencies 0: without encoding."""

    def __init__(self, frequencies: int, depth: int, width: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        widths = [2 + 4 * frequencies, *[width] * depth]
        layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 3), nn.Sigmoid())

    def forward(self, positions: Tensor) -> Tensor:
        """Return colours [..., 3] at positions [..., 2]."""
        colors: Tensor = self.layers(positional_encoding(positions, self.frequencies))
        return colors


def pixel_positions(height: int, width: int) -> Tensor:
    """Return pixel centers (x, y) in −1..1: [height * width, 2]."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return torch.stack((x, y), -1).reshape(-1, 2) * 2 - 1


def memorise(
    image: Tensor,  # [H, W, 3], 0..1
    config: Memorisation,
    state: Path | None = None,
    report: Callable[[str], None] = lambda text: None,
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Train one network on an image and return its reconstruction [H, W, 3] on the CPU.

    state: a file to resume from if it exists; it is written every 30 s.

    Raises:
        ValueError: `state` belongs to another configuration.
    """
    positions, colors = pixel_positions(*image.shape[:2]).to(device), image.reshape(-1, 3).to(device)
    torch.manual_seed(config.seed)
    network = ImageNetwork(config.frequencies, config.depth, config.width).to(device)
    optimizer = torch.optim.Adam(network.parameters(), config.rate)
    loop = Loop(
        State(config, {"network": network}, {"": optimizer}), state, config.steps, report_steps=100,
        checkpoint_seconds=AUTOSAVE_SECONDS,
        progress=lambda fraction, text: report(f"L {config.frequencies}: {text}"),
    )  # fmt: skip
    for step in loop:
        for group in optimizer.param_groups:
            group["lr"] = config.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / config.steps)))
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        chosen = torch.randint(len(positions), (config.pixels_per_step,), generator=random).to(device)
        loss = (network(positions[chosen]) - colors[chosen]).square().mean()
        update(optimizer, loss)
        loop.report(f"{-10 * math.log10(loss.item()):.2f} dB")
    with torch.no_grad():
        return network(positions).reshape(image.shape).cpu()


def read_image(path: Path | None, size: int) -> Tensor:
    """Return the central square of an image at `size` pixels, [size, size, 3] in 0..1.

    None: "Chelsea the cat" of scikit-image, CC0 by Stéfan van der Walt. Raises UnreadableFile.
    """
    if path is None:
        from skimage.data import chelsea

        source = PIL.fromarray(chelsea()).crop((80, 15, 340, 275))
    else:
        try:
            source = PIL.open(path).convert("RGB")
        except OSError as error:
            raise UnreadableFile(f"{path} cannot be read as an image: {error}") from error
    side = min(source.size)
    left, top = (source.width - side) // 2, (source.height - side) // 2
    small = source.crop((left, top, left + side, top + side)).resize((size, size), PIL.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, np.float32) / 255)


def demonstrate(
    image: Tensor,
    config: Memorisation,
    out: Path,
    report: Callable[[str], None] = lambda text: None,
    *,
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """Memorise an image without and with the encoding; write the image row and return the figures (PSNR in dB)."""
    out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    panels = {"image": image}
    for name, frequencies in (("without", 0), ("with", config.frequencies)):
        one = Memorisation(**{**asdict(config), "frequencies": frequencies})
        found = memorise(image, one, out / f"{name}.safetensors", report, device=device)
        figures[f"psnr_{name}"] = round(psnr(found, image), 2)
        panels[f"{name} encoding {figures[f'psnr_{name}']:.1f} dB"] = found
    figures["gap"] = round(figures["psnr_with"] - figures["psnr_without"], 2)
    labelled_row(panels, side=256).save(out / "image_memorisation.png", optimize=True)
    (out / "figures.json").write_text(json.dumps({**figures, **asdict(config)}, indent=1) + "\n")
    return figures


def main(arguments: list[str]) -> None:
    """Run the experiment, from the command line."""
    parser = options("image-memorisation", __doc__)
    default = Memorisation()
    parser.add_argument("--out", type=Path, required=True, help="folder for the image row and the figures")
    parser.add_argument("--image", type=Path, help="an image file; a photograph of a cat if left out")
    parser.add_argument("--size", type=int, default=default.size, help="pixels of the image's side")
    parser.add_argument("--steps", type=int, default=default.steps, help="training steps of each network")
    parser.add_argument("--frequencies", type=int, default=default.frequencies, help="frequencies L of the encoding")
    parser.add_argument("--width", type=int, default=default.width, help="width of the four hidden layers")
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of initialisation and batches")
    given = parser.parse_args(arguments)
    config = Memorisation(
        size=given.size,
        steps=given.steps,
        frequencies=given.frequencies,
        width=given.width,
        seed=given.seed,
    )

    figures = demonstrate(read_image(given.image, config.size), config, given.out, log, device=device_of(given.device))
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
