"""Distances of two sets of images by their features: KID, Fréchet distance, spread, nearest neighbours.

Features are [n, d], one row an image, of one of `feature_networks`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Return KID: the unbiased squared maximum mean discrepancy of features [n, d] and [m, d] with the kernel
    (x·y / d + 1)³ (Sec. 4 of arxiv.org/abs/1801.01401). Sets from one distribution have 0 on average, whatever n and
    m; a value can be negative."""
    x, y = first.double(), second.double()

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean_of_others(k: Tensor) -> Tensor:
        return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))

    return float(mean_of_others(kernel(x, x)) + mean_of_others(kernel(y, y)) - 2 * kernel(x, y).mean())


def kernel_distance_error(first: Tensor, second: Tensor, parts: int = 8) -> float:
    """Return the standard error of `kernel_distance`: of the mean over disjoint parts of both sets."""
    pairs = zip(first.chunk(parts), second.chunk(parts), strict=True)
    values = torch.tensor([kernel_distance(a, b) for a, b in pairs if min(len(a), len(b)) > 1])
    return float(values.std() / len(values) ** 0.5)


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return the squared Fréchet distance of two Gaussians fitted to features [n, d] and [m, d]:
    |μ - ν|² + tr(A + B - 2 √(A B)) (Eq. 6 of arxiv.org/abs/1706.08500).

    It falls with the number of images, so only distances of equally large sets can be compared. With centred features X
    and Y divided by √(n - 1) and √(m - 1), tr √(A B) is the sum of the singular values of X Yᵀ: an [n, m] problem,
    exact where d > n.
    """
    x, y = first.double(), second.double()
    a, b = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (x, y))
    overlap = torch.linalg.svdvals(a @ b.T).sum() if len(a) + len(b) < 2 * x.shape[1] else _overlap(a.T @ a, b.T @ b)
    distance = (x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() - 2 * overlap
    return float(distance.clamp(min=0))


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """Return tr √(A B) of covariances [d, d], as the trace of √(√A B √A)."""
    values, vectors = torch.linalg.eigh(a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()


def cosine_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return 1 - cosine of features [n, d] and [m, d]: [n, m], 0 for features of one direction."""
    a, b = (torch.nn.functional.normalize(x.float(), dim=-1) for x in (first, second))
    return 1 - a @ b.T


def spread(features: Tensor, pairs: Tensor) -> float:
    """Return the mean distance of the pairs [p, 2] of images: of different objects at like poses, their variety."""
    distances = cosine_distances(features, features)
    return float(distances[pairs[:, 0], pairs[:, 1]].mean())


@dataclass(frozen=True)
class Neighbours:
    """The nearest other image of each image [n]."""

    index: Tensor  # [n]
    distance: Tensor  # [n]


def nearest_neighbours(features: Tensor, others: Tensor, forbidden: Tensor | None = None) -> Neighbours:
    """Find the nearest of `others` [m, d] for each of `features` [n, d]. forbidden: [n, m], pairs that do not count."""
    distances = cosine_distances(features, others)
    nearest = (distances if forbidden is None else distances.masked_fill(forbidden, torch.inf)).min(1)
    return Neighbours(nearest.indices, nearest.values)


def share_of_copies(generated: Tensor, real: Tensor) -> float:
    """Return the share of generated images that are nearer to a training image than 95 % of the real images of other
    objects are; 0.05 is expected of new objects. Both are distances to the nearest training image [n].

    Images that are blander than real ones are near to everything, so a high share is a reason to look at the pairs,
    and no proof.
    """
    return float((generated < real.quantile(0.05)).float().mean())
