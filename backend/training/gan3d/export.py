"""Export trained 3D-GAN networks to a model folder with card and thumbnail; progress images of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PIL
from scipy.ndimage import label
from torch import Tensor

from ...cameras import from_wire, orbit
from ...generators.gan3d.model import Generator, ImageEncoder
from ...generators.gan3d.scene import GAN3D, constructor_of, model_info
from ...models.card import ModelCard
from ...models.library import load_model
from ...models.store import save_model
from ...scenes.voxels import VoxelScene, cube_in_world
from ..data.chair_views import CUBE_HALF
from ..data.chairs import LICENCE, METRES_PER_UNIT
from ..images import composited, image_grid
from .config import GanTraining


def built(
    config: GanTraining, generator: Generator, encoder: ImageEncoder | None = None, codes: Tensor | None = None
) -> GAN3D:
    """Return the model of trained networks, placed in the world as the chairs of data/chair_views.py are.

    codes [num_codes, z_dim]: new shapes are sampled near them.
    """
    arguments = constructor_of(
        generator, config.side, encoder, prior=config.prior, mirror=config.mirror, axes="zyx", half_edge=CUBE_HALF,
        num_codes=0 if codes is None else len(codes),
    )  # fmt: skip
    card = ModelCard("gan3d", "Chairs", "", "", False, arguments, metres_per_unit=METRES_PER_UNIT)
    model = GAN3D(**arguments, metres_per_unit=METRES_PER_UNIT)
    model.generator.load_state_dict(generator.state_dict())
    if encoder is not None and model.encoder is not None:
        model.encoder.load_state_dict(encoder.state_dict())
    if codes is not None:
        model.codes.copy_(codes)
        choose_partners(model)
    model._info = model_info("training", card, model)
    return model


def export(model: GAN3D, folder: Path, *, label: str, description: str, card: str, starter: bool = False) -> None:
    """Write the model folder with weights in half precision, and its thumbnail, a render of the shape of seed 0."""
    arguments = constructor_of(
        model.generator, model.side, model.encoder, prior=model.prior, mirror=model.mirror, axes="zyx",
        half_edge=CUBE_HALF, num_codes=len(model.codes),
    )  # fmt: skip
    half = {name: value.half() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    about = ModelCard(
        kind="gan3d", label=label, description=description, licence=LICENCE, non_commercial=False,
        constructor=arguments, source="starter" if starter else "trained", metres_per_unit=METRES_PER_UNIT, card=card,
    )  # fmt: skip
    save_model(folder, about, half)
    loaded = load_model(folder)
    scene = loaded.synthesize(loaded.mapping(loaded.sample_z(0))[0])
    composited(scene.render(from_wire(orbit(loaded.info, 256))), None).save(folder / "thumbnail.png", optimize=True)


def choose_partners(model: GAN3D, candidates: int = 6) -> None:
    """Set `model.partners`: for each code of a connected shape its nearest neighbour with a connected shape halfway.

    Codes whose shape is not connected are never sampled (-1); those without such a neighbour are their own partner.
    """

    def whole(codes: Tensor) -> list[bool]:
        return [is_whole(v) for part in codes.split(32) for v in model.voxels(part[:, None]).cpu().numpy()]

    with torch.no_grad():
        near = torch.cdist(model.codes, model.codes).fill_diagonal_(torch.inf)
        neighbours = near.topk(min(candidates, len(near) - 1), largest=False).indices
        good = whole(model.codes)
        for index, others in enumerate(neighbours):
            model.partners[index] = index if good[index] else -1
            others = others[torch.tensor([good[other] for other in others.tolist()], dtype=torch.bool)]
            if good[index] and len(others):
                middles = whole((model.codes[index] + model.codes[others]) / 2)
                if any(middles):
                    model.partners[index] = others[middles.index(True)]


CRUMB = 0.01
"""Part of the solid voxels below which a separate piece is ignored."""


def is_whole(voxels: NDArray[np.float32]) -> bool:
    """Return whether the solid voxels are connected by faces, edges or corners; pieces below CRUMB are ignored."""
    parts, count = label(voxels > 0.5, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    return count > 0 and float(sizes.max() / sizes.sum()) > 1 - CRUMB


def samples(model: GAN3D, count: int, size: int, *, first: int = 0) -> list[PIL.Image]:
    """Render the shapes of `count` seeds."""
    camera = from_wire(orbit(model.info, size))
    codes = [model.mapping(model.sample_z(first + i))[0] for i in range(count)]
    return [composited(model.synthesize(code).render(camera)) for code in codes]


def voxel_render(model: GAN3D, values: Tensor, size: int) -> PIL.Image:
    """Render voxels [side, side, side], placed as the model's."""
    scene = VoxelScene(values, cube_in_world(model.half_edge))
    return composited(scene.render(from_wire(orbit(model.info, size))))


def reconstructions(model: GAN3D, images: Tensor, voxels: Tensor, size: int) -> list[PIL.Image]:
    """Return N images [N, s, s, 3] uint8, then renders of their N reconstructions, then of the N true shapes
    [N, side, side, side]."""
    shown = [PIL.fromarray(image.numpy()).resize((size, size), PIL.Resampling.BICUBIC) for image in images]
    with torch.no_grad():
        made = model.voxels(model.encode(images.permute(0, 3, 1, 2).float() / 255))
    return shown + [voxel_render(model, values, size) for values in [*made, *voxels]]


def write_progress_image(model: GAN3D, path: Path, seen: tuple[Tensor, Tensor] | None = None, size: int = 112) -> None:
    """Write renders of 16 new shapes and, for a model with an encoder, 8 images with reconstruction and truth.

    seen: images [8, s, s, 3] uint8 and voxels [8, side, side, side].
    """
    images = samples(model, 16, size)
    if seen is not None:
        images += reconstructions(model, *seen, size)
    image_grid(images, 8).save(path)
