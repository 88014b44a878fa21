"""Image features learnt from the images of a data set, and identity measured by them.

`ImageFeatures` learns which images show the same object, from which direction, and in which colours. Generated images
can be compared by it where no network trained on photographs is at hand (`judging.feature_networks`).

`python -m backend.training.features VIEWS OUT` trains it on the images of data/chair_views.py in some minutes and
writes OUT/features.safetensors.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from ..files import write_atomically
from ..progress import Progress, silent
from .data import chair_views
from .runs import update

NUM_FEATURES = 64
THUMBNAIL = 8
"""Pixels of the side of the thumbnail that is predicted from the features."""
TEMPERATURE = 0.1
STEPS = 700
GROUPS_PER_STEP = 32


class ImageFeatures(nn.Module):
    """Network from images [N, 3, 64, 64] in -1..1 to features [N, 64], with heads for identity, pose and thumbnail."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 96)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.features = nn.Linear(widths[-1] * 16, NUM_FEATURES)
        self.identity = nn.Linear(NUM_FEATURES, 32)  # similar for images of one chair in one set of materials
        self.pose = nn.Linear(NUM_FEATURES, 3)  # sine and cosine of the azimuth, elevation
        self.thumbnail = nn.Linear(NUM_FEATURES, 3 * THUMBNAIL**2)

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N, 64]."""
        x = images
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), 0.2)
        out: Tensor = self.features(x.flatten(1))
        return out

    def identities(self, features: Tensor) -> Tensor:
        """Return unit vectors [N, 32], close together for images of one chair in one set of materials."""
        return F.normalize(self.identity(F.leaky_relu(features, 0.2)), dim=-1)

    def azimuths(self, features: Tensor) -> Tensor:
        """Return the predicted azimuths [N] of the images' cameras, radians."""
        sine, cosine, _ = self.pose(F.leaky_relu(features, 0.2)).unbind(-1)
        return torch.atan2(sine, cosine)


def as_input(images: np.ndarray) -> Tensor:
    """Return images [..., 64, 64, 3] uint8 as network input [N, 3, 64, 64] in -1..1."""
    flat = torch.from_numpy(images.reshape(-1, *images.shape[-3:]))
    return flat.permute(0, 3, 1, 2).float() / 127.5 - 1


def chairs(views: dict[str, np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
    """Return views of chairs [chairs, 24, …] as the images, groups (chair and materials) and angles of
    `train_features`."""
    images = torch.from_numpy(views["images"]).flatten(0, 1).permute(0, 3, 1, 2)
    groups = torch.arange(len(images)) // chair_views.VIEWS_PER_VARIANT
    angles = torch.stack([torch.from_numpy(views[name]).flatten() for name in ("azimuths", "elevations")], -1)
    return images, groups, angles


def train_features(
    images: Tensor,
    groups: Tensor,
    angles: Tensor | None = None,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress = silent,
) -> ImageFeatures:
    """Train on images [n, 3, 64, 64] uint8.

    groups: [n], which images show the same object in the same colours. angles: azimuth and elevation [n, 2], radians.
    A batch has two images of each of up to 32 groups; of a group of one image, that image twice, one of them moved by
    some pixels. Loss: cross-entropy of finding the other image of the same group among the others (contrastive), and
    squared errors of thumbnail and, where they are known, azimuth and elevation.
    """
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    network = ImageFeatures()
    adam = torch.optim.Adam(network.parameters(), 2e-3)
    order = groups.argsort(stable=True)
    sizes = groups.unique(return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    count = min(GROUPS_PER_STEP, len(sizes))
    partner = torch.arange(2 * count).roll(count)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 2e-3 * min(1.0, 2 - 2 * step / steps)
        chosen = torch.randperm(len(sizes), generator=random)[:count]
        first = (torch.rand(count, generator=random) * sizes[chosen]).long()
        other = (first + 1 + (torch.rand(count, generator=random) * (sizes[chosen] - 1)).long()) % sizes[chosen]
        index = order[starts[chosen].repeat(2) + torch.cat((first, other))]
        shown = images[index].float() / 127.5 - 1
        alone = torch.cat((torch.zeros(count, dtype=torch.bool), sizes[chosen] == 1))
        shift = torch.randint(-3, 4, (2,), generator=random).tolist()
        shown = torch.where(alone[:, None, None, None], shown.roll(shift, (2, 3)), shown)
        features = network(shown)
        identities = network.identities(features)
        similarity = identities @ identities.T / TEMPERATURE - 1e9 * torch.eye(2 * count)
        active = F.leaky_relu(features, 0.2)
        thumbnails = F.adaptive_avg_pool2d(shown, THUMBNAIL).flatten(1)
        loss = F.cross_entropy(similarity, partner) + 3 * F.mse_loss(network.thumbnail(active), thumbnails)
        if angles is not None:
            azimuth, elevation = angles[index].unbind(-1)
            pose = torch.stack((azimuth.sin(), azimuth.cos(), elevation), -1)
            loss = loss + 3 * F.mse_loss(network.pose(active), pose)
        update(adam, loss)
        progress(step / steps, "Training the feature network", figures={"step": step, "loss": loss.item()})
    return network.eval().requires_grad_(False)


@torch.no_grad()
def identity_ratio(images: Tensor, network: ImageFeatures) -> tuple[float, float]:
    """Return mean identity distances of images [objects, views, 3, 64, 64]: of views of one object, and of different
    ones."""
    objects, views = images.shape[:2]
    found = network.identities(network(images.flatten(0, 1))).view(objects, views, -1)
    distances = torch.cdist(found.flatten(0, 1), found.flatten(0, 1)).view(objects, views, objects, views)
    same = torch.eye(objects, dtype=torch.bool)[:, None, :, None].expand(-1, views, -1, views)
    itself = torch.eye(objects * views, dtype=torch.bool).view(objects, views, objects, views)
    return float(distances[same & ~itself].mean()), float(distances[~same].mean())


@torch.no_grad()
def features_of(network: ImageFeatures, images: Tensor) -> Tensor:
    """Return features [N, 64] of images [N, 3, 64, 64], computed in batches."""
    return torch.cat([network(part) for part in images.split(64)])


def main(arguments: list[str]) -> None:
    """Train the feature network, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path, help="the folder that backend.training.data.chair_views filled")
    parser.add_argument("out", type=Path, help="folder for features.safetensors")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    names = ("images", "azimuths", "elevations")
    network = train_features(*chairs(chair_views.load_views(options.views, range(chair_views.NUM_TRAIN), names)))
    weights = options.out / "features.safetensors"
    write_atomically(weights, save(network.state_dict()))
    sys.stdout.write(f"{weights}: {time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
