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
)
OUTPUT_OF_PHASES = (
    (1, 1, 1, 1, 0),
    (0, 1, -1, 2, 0),
    (0, 1, 1, 4, 0),
    (0, 1, -1, 8, 1),
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


def sizes_of_phases(rows: int, columns: int) -> tuple[int, int, int, int]:
    """Return the numbers of frequencies of rows of tiles of a doubling convolution, by the phases of rows and columns:
    even-even, even-odd, odd-even, odd-odd."""
    tiles = rows * columns
    return 25 * tiles, 5 * rows * (4 * columns + 1), 20 * tiles, 16 * tiles


def _groups(frequencies: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return frequencies [n, channels] by the phases of rows and columns: even-even [5, 5, rows, columns, c], even-odd
    [5, rows, 4 columns + 1, c], odd-even [5, rows, 4, columns, c], odd-odd [rows, 4, 4 columns, c]."""
    one, two, three, four = frequencies.split(sizes_of_phases(rows, columns))
    return (
        one.view(5, 5, rows, columns, -1),
        two.view(5, rows, 4 * columns + 1, -1),
        three.view(5, rows, 4, columns, -1),
        four.view(rows, 4, 4 * columns, -1),
    )


def to_phases_reference(image: Tensor, frequencies: Tensor, first: int, rows: int) -> None:
    """See `to_phases`."""
    columns = tiles_across(image)
    band = image[4 * first : 4 * (first + rows) + 1]
    band = F.pad(band, (0, 0, 0, 4 * columns + 1 - band.shape[1], 0, 4 * rows + 1 - band.shape[0]))
    raw = band[1:].unflatten(0, (rows, 4))
    matrix = image.new_tensor(DATA_OF_PHASES)
    even_even, even_odd, odd_even, odd_odd = _groups(frequencies, rows, columns)
    even_odd.copy_(torch.einsum("fk,rxck->frxc", matrix, band.unfold(0, 5, 4)))
    even_even.copy_(torch.einsum("gk,frtck->fgrtc", matrix, even_odd.unfold(2, 5, 4)))
    odd_even.copy_(torch.einsum("gk,rytck->grytc", matrix, raw.unfold(2, 5, 4)))
    odd_odd.copy_(raw[:, :, 1:])


def from_phases_reference(frequencies: Tensor, image: Tensor) -> None:
    """See `from_phases`."""
    rows, columns = image.shape[0] // 8, image.shape[1] // 8
    even_even, even_odd, odd_even, odd_odd = _groups(frequencies, rows, columns)
    matrix = image.new_tensor(OUTPUT_OF_PHASES)
    pixels = image.view(rows, 4, 2, columns, 4, 2, -1)
    pixels[:, :, 0, :, :, 0] = torch.einsum("if,jg,fgrtc->ritjc", matrix, matrix, even_even)
    pixels[:, :, 0, :, :, 1] = torch.einsum("if,frxc->rixc", matrix, even_odd[:, :, 1:]).unflatten(2, (columns, 4))
    pixels[:, :, 1, :, :, 0] = torch.einsum("jg,grytc->rytjc", matrix, odd_even)
    pixels[:, :, 1, :, :, 1] = odd_odd.unflatten(2, (columns, 4))


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
