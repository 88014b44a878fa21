"""The definition: products with the matrices of both transforms."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Transforms for the interpolation points 0, ±1, ±2, ∞ (section 4.3 of arxiv.org/abs/1509.09308).
DATA = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def to_frequencies_reference(image: Tensor, frequencies: Tensor) -> None:
    """See `to_frequencies`."""
    rows, columns, channels = (image.shape[0] - 2) // 4, (image.shape[1] - 2) // 4, image.shape[2]
    along, across, channel = image.stride()
    # Runs of six pixels are contiguous, so gathering overlapping tiles is cheap.
    tiles = image.as_strided(
        (rows, columns, 6, 6, channels), (4 * along, 4 * across, along, across, channel), image.storage_offset()
    )
    torch.matmul(_both(DATA, image), tiles.reshape(-1, 36, channels), out=frequencies.transpose(0, 1))


def from_frequencies_reference(
    frequencies: Tensor,
    image: Tensor,
    bias: Tensor,
    noise: Tensor | None,
    noise_gain: float,
    scale: int,
    slope: float,
    clamp: float | None,
) -> None:
    """See `from_frequencies`."""
    height, width, channels = image.shape
    rows, columns = height // (4 * scale), width // (4 * scale)
    pixels = torch.matmul(_both(OUTPUT, image), frequencies.transpose(0, 1))
    pixels = pixels.view(rows, columns, 4, 4, scale, scale, channels).permute(0, 2, 4, 1, 3, 5, 6)
    torch.add(pixels, bias, out=image.view(pixels.shape))
    if noise is not None:
        image += noise[..., None] * noise_gain
    if slope != 1:
        F.leaky_relu_(image, slope)
    if clamp is not None:
        image.clamp_(-clamp, clamp)


def _both(matrix: tuple[tuple[int, ...], ...], like: Tensor) -> Tensor:
    """Return the transform of rows and columns of a tile at once."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one).to(like)
