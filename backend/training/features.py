"""Image features of chairs, and measures on them: Fréchet distance and identity.

No network trained on photographs is available here, so generated images are compared by the features of a small one,
`ImageFeatures`, which learns from the images of data/chair_views.py which images show the same chair, from which
direction, and in which colours.

`python -m backend.training.features VIEWS OUT` trains it in some minutes and writes OUT/features.safetensors.
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
from scipy.linalg import sqrtm
from torch import Tensor, nn

from ..files import write_atomically
from .data import chair_views
from .runs import update

NUM_FEATURES = 64
THUMBNAIL = 8
"""Pixels of the side of the thumbnail that is predicted from the features."""
TEMPERATURE = 0.1
STEPS = 700
CHAIRS_PER_STEP = 32


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


def train_features(views: dict[str, np.ndarray], steps: int = STEPS, seed: int = 0) -> ImageFeatures:
    """Train on the views of chairs [chairs, 24, …].

    A batch has two views of each of n chairs. Loss: cross-entropy of finding the other view of the same chair among
    the 2n - 1 other images (contrastive), and squared errors of azimuth, elevation and thumbnail.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = ImageFeatures()
    adam = torch.optim.Adam(network.parameters(), 2e-3)
    per_variant, variants = chair_views.VIEWS_PER_VARIANT, chair_views.NUM_VARIANTS
    count = min(CHAIRS_PER_STEP, len(views["images"]))
    partner = torch.arange(2 * count).roll(count)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 2e-3 * min(1.0, 2 - 2 * step / steps)
        chosen = random.choice(len(views["images"]), count, replace=False)
        variant = random.integers(variants, size=count)
        two = np.argsort(random.random((count, per_variant)), axis=1)[:, :2] + variant[:, None] * per_variant
        index = (np.tile(chosen, 2), np.concatenate((two[:, 0], two[:, 1])))
        images = as_input(views["images"][index])
        azimuth, elevation = (torch.from_numpy(views[name][index]) for name in ("azimuths", "elevations"))
        features = network(images)
        identities = network.identities(features)
        similarity = identities @ identities.T / TEMPERATURE - 1e9 * torch.eye(2 * count)
        active = F.leaky_relu(features, 0.2)
        pose = torch.stack((azimuth.sin(), azimuth.cos(), elevation), -1)
        thumbnails = F.adaptive_avg_pool2d(images, THUMBNAIL).flatten(1)
        loss = (
            F.cross_entropy(similarity, partner)
            + 3 * F.mse_loss(network.pose(active), pose)
            + 3 * F.mse_loss(network.thumbnail(active), thumbnails)
        )
        update(adam, loss)
        if (step + 1) % 50 == 0:
            sys.stderr.write(f"features: step {step + 1}/{steps}  loss {loss.item():.3f}\n")
    return network.eval().requires_grad_(False)


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return the squared Fréchet distance of two Gaussians fitted to features [N, d] and [M, d]:
    |μ - ν|² + tr(A + B - 2 √(A B)) (Eq. 6 of arxiv.org/abs/1706.08500)."""
    a, b = first.double().numpy(), second.double().numpy()
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(covariance_a @ covariance_b).real
    distance = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covariance_a + covariance_b - 2 * root)
    return float(max(distance, 0.0))


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
    network = train_features(chair_views.load_views(options.views, range(chair_views.NUM_TRAIN), names))
    weights = options.out / "features.safetensors"
    write_atomically(weights, save(network.state_dict()))
    sys.stdout.write(f"{weights}: {time.perf_counter() - started:.0f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
