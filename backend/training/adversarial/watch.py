"""Watch a training: the model folder of its running mean, and sheets of renders and depths with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image as PIL
from torch import nn

from ...cameras import from_wire, orbit
from ...generators import loader
from ...models.card import ModelCard
from ...models.store import save_model
from ...scenes.generator import Generator
from ...scenes.protocol import Image, Scene
from ..images import composited, image_grid, to_pil

SEEDS = 16
SWEEP_SEEDS = 5
SWEEP_VIEWS = 7


class Watch:
    """Called with the path of the sweep's sheet; writes it, `samples.png` beside it, and the model folder `model/`."""

    def __init__(self, out: Path, card: Callable[[], ModelCard], mean: nn.Module) -> None:
        self.out, self.card, self.mean = out, card, mean

    def __call__(self, path: Path) -> Generator:
        """Write the model folder and the sheets of the weights as they are now, and return the model."""
        generator = self.export()
        sweep(generator).save(path)
        samples(generator).save(path.with_name("samples.png"))
        return generator

    def export(self) -> Generator:
        """Write the model folder of the weights as they are now, and return the model. Raises CannotWrite."""
        tensors = {name: value.detach().cpu().clone() for name, value in self.mean.state_dict().items()}
        card = save_model(self.out / "model", replace(self.card(), source="trained"), tensors)
        return loader(card.kind)("model", card, tensors)


@torch.no_grad()
def samples(generator: Generator, seeds: int = SEEDS, side: int | None = None) -> PIL.Image:
    """Return a square sheet: one render of each of the first seeds, in the default view.

    side: of a render, pixels; the model's own image size if left out."""
    camera = from_wire(orbit(generator.info, side or generator.info.image_size))
    renders = [composited(_scene(generator, seed).render(camera)) for seed in range(seeds)]
    return image_grid(renders, round(seeds**0.5))


@torch.no_grad()
def sweep(
    generator: Generator, seeds: int = SWEEP_SEEDS, views: int = SWEEP_VIEWS, side: int | None = None
) -> PIL.Image:
    """Return a sheet: for each seed a row of renders through the azimuths of the model's pose prior, and a row of their
    depths where the model has a surface."""
    info = generator.info
    low, high = info.pose_prior.azimuth
    around = high - low > 6.28  # the last view would be the first again
    steps = [low + (high - low) * i / (views if around else views - 1) for i in range(views)]
    cells: list[PIL.Image] = []
    for seed in range(seeds):
        scene = _scene(generator, seed)
        renders = [scene.render(from_wire(orbit(info, side or info.image_size, azimuth=angle))) for angle in steps]
        cells += [composited(render) for render in renders]
        if info.has_surface:
            cells += [depth_image(render, info.pose_prior.radius) for render in renders]
    return image_grid(cells, views)


def depth_image(image: Image, radius: float) -> PIL.Image:
    """Return the depth of a render as grey: near is light; half to three halves of `radius`, metres, are shown."""
    grey = (1.5 - image.depth / radius).clamp(0, 1) * (image.alpha > 0.5)
    return to_pil(grey[..., None].expand(-1, -1, 3))


def _scene(generator: Generator, seed: int) -> Scene:
    return generator.synthesize(generator.mapping(generator.sample_z(seed))[0])
