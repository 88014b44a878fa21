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


# F(4, 2) of the even phase of a doubling convolution, points 0, 1, −1, 2, ∞; the odd phase takes pixels as they are.
DATA_OF_PHASES = (
    (2, -1, -2, 1, 0),
    (0, -2, -1, 1, 0),
    (0, 2, -3, 1, 0),
    (0, -1, 0, 1, 0),
    (0, 2, -1, -2, 1),
    (0, 1, 0, 0, 0),
    (0, 0, 1, 0, 0),
    (0, 0, 0, 1, 0),
    (0, 0, 0, 0, 1),
)
OUTPUT_OF_PHASES = (
    (1, 1, 1, 1, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 1, 0, 0, 0),
    (0, 1, -1, 2, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 0, 1, 0, 0),
    (0, 1, 1, 4, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 0, 0, 1, 0),
    (0, 1, -1, 8, 1, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 0, 0, 0, 1),
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
    slope: float,
    clamp: float | None,
) -> None:
    """See `from_frequencies`."""
    height, width, channels = image.shape
    pixels = torch.matmul(_both(OUTPUT, image), frequencies.transpose(0, 1))
    pixels = pixels.view(height // 4, width // 4, 4, 4, channels).transpose(1, 2).reshape(image.shape)
    _finish(pixels, image, bias, noise, noise_gain, slope, clamp)


def tiles_across(image: Tensor) -> int:
    """Return the number of tiles across a framed image of a doubling convolution, which makes one pixel more."""
    return (image.shape[1] - 2) // 4 + 1


def groups(frequencies: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return frequencies [81 · tiles, channels] of a doubling convolution by the phases of rows and columns: even-even
    [5, 5, tiles, c], even-odd [5, tiles, 4, c], odd-even [5, tiles, 4, c], odd-odd [tiles, 4, 4, c]."""
    tiles, channels = len(frequencies) // 81, frequencies.shape[1]
    shapes = ((5, 5, tiles), (5, tiles, 4), (5, tiles, 4), (tiles, 4, 4))
    parts = frequencies.split([n * tiles for n in (25, 20, 20, 16)])
    one, two, three, four = (part.view(*shape, channels) for part, shape in zip(parts, shapes, strict=True))
    return one, two, three, four


def to_phases_reference(image: Tensor, frequencies: Tensor, first: int, rows: int) -> None:
    """See `to_phases`."""
    columns, channels = tiles_across(image), image.shape[2]
    band = image[4 * first : 4 * (first + rows) + 1]
    band = F.pad(band, (0, 0, 0, 4 * columns + 1 - band.shape[1], 0, 4 * rows + 1 - band.shape[0]))
    tiles = band.unfold(0, 5, 4).unfold(1, 5, 4).permute(0, 1, 3, 4, 2).reshape(-1, 25, channels)
    made = torch.matmul(_both(DATA_OF_PHASES, image), tiles).view(-1, 9, 9, channels)  # [tiles, ...]
    even_even, even_odd, odd_even, odd_odd = groups(frequencies)
    even_even.copy_(made[:, :5, :5].permute(1, 2, 0, 3))
    even_odd.copy_(made[:, :5, 5:].transpose(0, 1))
    odd_even.copy_(made[:, 5:, :5].permute(2, 0, 1, 3))
    odd_odd.copy_(made[:, 5:, 5:])


def from_phases_reference(frequencies: Tensor, image: Tensor) -> None:
    """See `from_phases`."""
    height, width, channels = image.shape
    even_even, even_odd, odd_even, odd_odd = groups(frequencies)
    given = image.new_empty(len(odd_odd), 9, 9, channels)
    given[:, :5, :5], given[:, :5, 5:] = even_even.permute(2, 0, 1, 3), even_odd.transpose(0, 1)
    given[:, 5:, :5], given[:, 5:, 5:] = odd_even.permute(1, 2, 0, 3), odd_odd
    pixels = torch.matmul(_both(OUTPUT_OF_PHASES, image), given.view(-1, 81, channels))
    image.copy_(pixels.view(height // 8, width // 8, 8, 8, channels).transpose(1, 2).reshape(image.shape))


def low_pass_reference(
    given: Tensor,
    image: Tensor,
    taps: tuple[float, float, float, float],
    bias: Tensor,
    noise: Tensor | None,
    noise_gain: float,
    slope: float,
    clamp: float | None,
) -> None:
    """See `low_pass`."""
    rows, width, _ = image.shape
    lines = sum(tap * given[t : t + rows] for t, tap in enumerate(taps))
    lines = F.pad(torch.as_tensor(lines), (0, 0, 1, 0))
    pixels = sum(tap * lines[:, t : t + width] for t, tap in enumerate(taps))
    _finish(torch.as_tensor(pixels), image, bias, noise, noise_gain, slope, clamp)


def _finish(
    pixels: Tensor,
    image: Tensor,
    bias: Tensor,
    noise: Tensor | None,
    noise_gain: float,
    slope: float,
    clamp: float | None,
) -> None:
    torch.add(pixels, bias, out=image)
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
