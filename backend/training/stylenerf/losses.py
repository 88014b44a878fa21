"""Regularisers of StyleNeRF's training, and its schedule of resolutions (arxiv.org/abs/2110.08985, section 3.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def growth(images: float, start: float, end: float) -> float:
    """Return the progress alpha, 0..1, of progressive growing after so many images: linear from start to end."""
    return min(max((images - start) / (end - start), 0.0), 1.0)


def grid_places(offset: Tensor, side: int, count: int) -> Tensor:
    """Return the pixels [batch, count², 2] (row, column) of a coarse grid of an image, row by row.

    offset: uniform in 0..1, [batch, 2] as (column, row), moves the grid of each image by whole pixels.
    """
    pace = side // count
    line = torch.arange(count, device=offset.device) * pace
    columns, rows = (line + (offset[:, i : i + 1] * pace).long() for i in (0, 1))
    shape = (len(offset), count, count)
    return torch.stack((rows[:, :, None].expand(shape), columns[:, None, :].expand(shape)), -1).flatten(1, 2)


def path_consistency(image: Tensor, colors: Tensor, places: Tensor) -> Tensor:
    """Return the NeRF-path regulariser [batch, 1] (Eq. 5): the upsampled image against the radiance field itself.

    Args:
        image: [batch, 3, side, side].
        colors: [batch, 3, n], of the rays through the pixels at `places`, without upsampling.
        places: [batch, n, 2], row and column.
    """
    index = (places[..., 0] * image.shape[-1] + places[..., 1])[:, None].expand(-1, 3, -1)
    pixels = image.flatten(2).gather(2, index)
    return (pixels - colors).square().sum(1).mean(1, keepdim=True)


def path_lengths(image: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Return |J_w^T y| [batch] of images, of the first rows of ws [n, num_ws, w_dim] (Eq. 4 of 1912.04958).

    noise: y, normal, of the image's shape. The mean over rows of ws is taken of the squared norm. Differentiable.
    """
    (gradient,) = torch.autograd.grad((image * noise).sum() / math.sqrt(image[0, 0].numel()), ws, create_graph=True)
    return gradient[: len(image)].square().sum(2).mean(1).sqrt()
