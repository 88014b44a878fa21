"""Export a DeepSDF checkpoint to a model folder with card and thumbnail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from scipy.ndimage import label
from torch import Tensor

from ...cameras import from_wire, orbit
from ...generators.deepsdf.model import DecoderSpec
from ...generators.deepsdf.scene import Box, DeepSDF, constructor_of, model_info
from ...generators.deepsdf.sphere_tracing import EmptySpace
from ...kernels.sdf_mlp import sdf_mlp
from ...models.card import ModelCard
from ...models.library import load_model
from ...models.store import save_model
from ..images import composited, image_grid

BOX_MARGIN = 0.05
"""Distance between the training shapes and the bounds, canonical units: interpolated shapes may be a little larger."""


def model_from_checkpoint(checkpoint: Path, samples: Tensor, metres_per_unit: float = 1.0) -> DeepSDF:
    """Return the trained model; its bounds enclose the inside samples of the training shapes [num_shapes, N, 4]."""
    with safe_open(checkpoint, "pt") as file:
        config: dict[str, Any] = json.loads(file.metadata()["config"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    spec: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config["decoder"].items()}
    codes = tensors["codes"]
    model = DeepSDF(
        DecoderSpec(**spec),
        num_codes=len(codes),
        rank=min(len(codes) - 1, codes.shape[1]),
        mirror=config["mirror"],
        clamp=config["clamp"],
        bounds=bounds_of(samples, config["mirror"]),
        metres_per_unit=metres_per_unit,
    )
    model.decoder.load_state_dict({k.removeprefix("decoder."): v for k, v in tensors.items() if k[:8] == "decoder."})
    model.codes.copy_(codes)
    model.fit_gaussian()
    model.lipschitz = model.measured_slope()
    return model


def bounds_of(samples: Tensor, mirror: bool) -> Box:
    """Return the canonical box around all inside samples, with a margin; symmetric in x if the model is."""
    inside = samples[samples[..., 3] < 0][:, :3]
    low, high = inside.amin(0) - BOX_MARGIN, inside.amax(0) + BOX_MARGIN
    if mirror:
        high[0] = torch.maximum(high[0], -low[0])
        low[0] = -high[0]
    (x0, y0, z0), (x1, y1, z1) = ([round(value, 3) for value in corner.tolist()] for corner in (low, high))
    return (x0, y0, z0), (x1, y1, z1)


def is_one_piece(model: DeepSDF, code: Tensor, cell: float = 1 / 32) -> bool:
    """Return whether the shape of a code [latent_size] is connected on a lattice of spacing `cell`, canonical units.

    Of a symmetric shape one half is tested. The shape is tested twice: as it is, where small pieces can fall between
    the lattice points, and dilated by most of a cell, where none can but small gaps close.
    """
    low, high = torch.tensor(model.bounds)
    if model.mirror:
        low[0] = 0.0
    weights = model.decoder.weights()

    def field(points: Tensor) -> Tensor:
        return sdf_mlp(points, code, weights)

    space = EmptySpace.of(field, low, high, 2 * cell, lipschitz=1.2, clamp=model.clamp)
    near = torch.nonzero(space.steps == 0)
    with torch.no_grad():
        value = field(low + cell * (near + 0.5))
    for grown in (0.1, 0.7):
        solid = np.zeros(space.steps.shape, bool)
        solid[tuple(near[value < grown * cell].T.numpy())] = True
        if label(solid, np.ones((3, 3, 3)))[1] != 1:
            return False
    return True


def choose_partners(model: DeepSDF, candidates: int = 6) -> None:
    """Set `model.partners`: for each connected code the nearest other one whose midpoint with it is connected too.

    Codes whose shape is not connected are never sampled (-1); those without such a neighbour are their own partner.
    """
    whole = [is_one_piece(model, code) for code in model.codes]
    neighbours = model.neighbours(candidates).tolist()
    for index, near in enumerate(neighbours):
        partner = index if whole[index] else -1
        for other in near if whole[index] else []:
            if whole[other] and is_one_piece(model, (model.codes[index] + model.codes[other]) / 2):
                partner = other
                break
        model.partners[index] = partner


def export(
    model: DeepSDF, folder: Path, *, label: str, description: str, licence: str, card: str, starter: bool
) -> None:
    """Write the model folder and its thumbnail, a render of the shape of seed 0."""
    save_model(
        folder,
        ModelCard(
            kind="deepsdf",
            label=label,
            description=description,
            licence=licence,
            non_commercial=False,
            constructor=constructor_of(model),
            source="starter" if starter else "trained",
            metres_per_unit=model.metres_per_unit,
            card=card,
        ),
        model.state_dict(),
    )
    loaded = load_model(folder)
    scene = loaded.synthesize(loaded.mapping(loaded.sample_z(0))[0])
    composited(scene.render(from_wire(orbit(loaded.info, 256))), None).save(folder / "thumbnail.png", optimize=True)


def write_progress_image(model: DeepSDF, path: Path, size: int = 96) -> None:
    """Write renders of eight training shapes and eight new ones."""
    codes = [model.codes[i][None] for i in range(min(8, len(model.codes)))]
    codes += [model.mapping(model.sample_z(seed))[0] for seed in range(8)]
    card = ModelCard("deepsdf", "", "", "", False, constructor_of(model), metres_per_unit=model.metres_per_unit)
    camera = from_wire(orbit(model_info("training", card, model), size))
    image_grid([composited(model.synthesize(code).render(camera, quality="draft")) for code in codes], 8).save(path)
