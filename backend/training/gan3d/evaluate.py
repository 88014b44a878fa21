"""Evaluate the 3D-GAN starter model: its new chairs, and its reconstructions of images.

`python -m backend.training.gan3d.evaluate VIEWS` (the folder of data/chair_views.py, with all chairs: `--end 400`)
prints the figures of the card as JSON and draws the images of docs/pictures.

New chairs. 200 of them against the chairs that were not trained on, all as surfaces of voxels (level ½, marching
cubes), 2048 points each. The Chamfer distance of two chairs is the mean distance of a point of one to the nearest of
the other, both ways, averaged. *Minimum matching distance*: that of a held-out chair to the nearest of the 200,
averaged. *Coverage*: the part of the held-out chairs that are the nearest one of at least one of the 200 (both:
Achlioptas et al., arxiv.org/abs/1707.02392). As a reference, the same for 200 chairs of the training set. *Whole*: the
part that is connected, ignoring pieces below 1 %.

Images. Intersection over union of the voxels above ½, over all views of the held-out chairs. References: the mean
training chair; the training chair with the most similar image (mean squared difference, all views of all training
chairs); and the training chair that fits best, which no method can know without the answer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PIL
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes
from torch import Tensor

from ...generators.gan3d.scene import GAN3D
from ...models.library import load_model
from ...models.store import model_folder
from ..data import chair_views, chairs
from ..images import image_grid
from .data import load_voxels
from .export import is_whole, reconstructions, samples

Array = NDArray[np.float32]
NUM_SAMPLES = 200
NUM_POINTS = 2048
DOCS_IMAGES = Path(__file__).resolve().parents[3] / "docs" / "pictures"


def surface_points(voxels: Array, random: np.random.Generator) -> Array:
    """Sample the surface of voxels [side, side, side] uniformly by area: points [NUM_POINTS, 3], in voxels.

    Raises:
        ValueError: nothing is solid.
    """
    padded = np.pad(voxels, 1)
    if padded.max() <= 0.5:
        raise ValueError("no voxel is solid")
    vertices, faces, _, _ = marching_cubes(padded, 0.5)
    corners = vertices[faces]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.linalg.norm(np.cross(u, v), axis=1)
    face = random.choice(len(area), NUM_POINTS, p=area / area.sum())
    a, b = random.random((2, NUM_POINTS, 1))
    fold = a + b > 1
    a, b = np.where(fold, 1 - a, a), np.where(fold, 1 - b, b)
    points: Array = (corners[face, 0] + a * u[face] + b * v[face]).astype(np.float32)
    return points


def chamfer_table(first: Sequence[Array], second: Sequence[Array]) -> NDArray[np.float64]:
    """Return the Chamfer distance of each of `first` to each of `second` [F, S], in their unit."""
    trees = [[cKDTree(points) for points in shapes] for shapes in (first, second)]
    table = np.empty((len(first), len(second)))
    for i, (a, tree_a) in enumerate(zip(first, trees[0], strict=True)):
        for j, (b, tree_b) in enumerate(zip(second, trees[1], strict=True)):
            table[i, j] = (tree_b.query(a)[0].mean() + tree_a.query(b)[0].mean()) / 2
    return table


def matching(table: NDArray[np.float64]) -> tuple[float, float]:
    """Return minimum matching distance and coverage of a table of distances [generated, reference]."""
    return float(table.min(0).mean()), len(np.unique(table.argmin(1))) / table.shape[1]


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of voxels above ½, over the last three dimensions; 1 where both are empty."""
    a, b = first > 0.5, second > 0.5
    union = (a | b).sum((-3, -2, -1))
    return torch.where(union > 0, (a & b).sum((-3, -2, -1)) / union.clamp(min=1), 1.0)


def new_chairs(model: GAN3D, train: Tensor, held_out: Tensor, seed: int = 0) -> dict[str, float]:
    """Return the figures of new chairs; see the module. Distances in millimetres."""
    random = np.random.default_rng(seed)
    made = torch.cat([model.voxels(model.mapping(model.sample_z(i))) for i in range(NUM_SAMPLES)])
    copies = train[torch.from_numpy(random.permutation(len(train))[:NUM_SAMPLES])]
    reference = [surface_points(voxels.numpy(), random) for voxels in held_out]
    millimetres = 2 * chair_views.CUBE_HALF / train.shape[-1] * chairs.METRES_PER_UNIT * 1000
    found: dict[str, float] = {"held_out": len(held_out)}
    for name, shapes in (("made", made), ("copied", copies)):
        solid = [voxels.numpy() for voxels in shapes if voxels.max() > 0.5]
        distance, covered = matching(chamfer_table([surface_points(v, random) for v in solid], reference))
        found |= {
            f"{name}_matching_mm": distance * millimetres,
            f"{name}_coverage": covered,
            f"{name}_whole": sum(map(is_whole, solid)) / len(shapes),
        }
    nearest = torch.stack([overlap(voxels, train).max() for voxels in made])
    return found | {
        "made_iou_with_nearest_training_chair": nearest.mean().item(),
        "made_copies": (nearest > 0.9).float().mean().item(),
    }


def from_images(model: GAN3D, train: Tensor, train_images: Tensor, voxels: Tensor, images: Tensor) -> dict[str, float]:
    """Return the figures of reconstructions; see the module. images [N, views, s, s, 3] uint8 of voxels [N, …]."""
    made, retrieved = [], []
    known = train_images.flatten(0, 1).flatten(1).float()  # [shapes * views, pixels]
    views = train_images.shape[1]
    for truth, of_one in zip(voxels, images, strict=True):
        made.append(overlap(model.voxels(model.encode(of_one.permute(0, 3, 1, 2).float() / 255)), truth))
        nearest = torch.cdist(of_one.flatten(1).float(), known).argmin(1) // views
        retrieved.append(overlap(train[nearest], truth))
    best = torch.stack([overlap(train, truth).max() for truth in voxels])
    return {
        "views": float(images.shape[0] * images.shape[1]),
        "iou": torch.stack(made).mean().item(),
        "iou_worst_chair": torch.stack(made).mean(1).min().item(),
        "mean_chair_iou": overlap(train.mean(0), voxels).mean().item(),
        "retrieved_iou": torch.stack(retrieved).mean().item(),
        "best_training_chair_iou": best.mean().item(),
    }


def main(arguments: list[str]) -> None:
    """Print the figures and draw the images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path, help="the folder that backend.training.data.chair_views filled")
    parser.add_argument("--model", default="gan3d_chairs", help="name or folder")
    parser.add_argument("--images", type=Path, default=DOCS_IMAGES, help="where the contact sheets go")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    folder = Path(options.model)
    model = load_model(folder if (folder / "card.json").is_file() else model_folder(options.model))
    if not isinstance(model, GAN3D):
        raise TypeError(f"{options.model} is not a 3D-GAN")
    seen, unseen = range(chair_views.NUM_TRAIN), range(chair_views.NUM_TRAIN, chairs.NUM_SHAPES)
    train, held_out = load_voxels(options.views, seen), load_voxels(options.views, unseen)
    page(samples(model, 32, 144), 8).save(options.images / "gan3d_contact_sheet.png", optimize=True)
    figures = {"new_chairs": new_chairs(model, train, held_out)}
    if model.encoder is not None:
        images = torch.from_numpy(chair_views.load_views(options.views, unseen)["images"])
        train_images = torch.from_numpy(chair_views.load_views(options.views, seen)["images"])
        figures["pictures"] = from_images(model, train, train_images, held_out, images)
        shown = images[torch.arange(8), torch.arange(8) * 3 % images.shape[1]]
        page(reconstructions(model, shown, held_out[:8], 144), 8).save(
            options.images / "gan3d_image_to_shape.png", optimize=True
        )
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def page(images: list[PIL.Image], columns: int) -> PIL.Image:
    """Return a contact sheet with 128 colours, for a small file."""
    return image_grid(images, columns).quantize(128)


if __name__ == "__main__":
    main(sys.argv[1:])
