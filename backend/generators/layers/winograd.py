"""3 × 3 convolutions of one latent, precomputed: fewer multiplications.

Winograd's minimal filtering F(4 × 4, 3 × 3) (arxiv.org/abs/1509.09308) makes 4 × 4 outputs of a 6 × 6 *tile* with 36
multiplications for each pair of channels instead of 144: transform tile and weights, multiply, transform back. A
doubling convolution (zero insertion, transposed convolution, low-pass filter) makes 8 × 8 with 81 instead of 144.
The transforms are those of backend/kernels/winograd.

Images here are channels-last, [height, width, channels], without a batch. Work goes in bands of tile rows that stay in
the cache, and whatever is done to each pixel afterwards (noise, bias, activation, a 1 × 1 convolution) happens there.
A doubled image is never written as a whole, but made band by band for the convolution that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.winograd import (
    from_frequencies,
    from_phases,
    low_pass,
    sizes_of_phases,
    tiles_across,
    to_frequencies,
    to_phases,
)
from ...threads import num_threads_on, run_on_torch_threads

TILES_AT_ONCE = 256

DOUBLED_TILES_AT_ONCE = 64

# Transforms of the weights, for the interpolation points of backend/kernels/winograd/reference.py.
WEIGHTS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
WEIGHTS_OF_PHASES = (
    (0, 0, 1 / 2),
    (-1 / 2, 0, -1 / 2),
    (1 / 6, 0, -1 / 6),
    (1 / 3, 0, 1 / 6),
    (1, 0, 0),
    (0, 1, 0),
)
"""Five frequencies of the even phase, whose pixels see the weights 2 and 0, and the middle weight for the odd phase."""


def phases(taps: Sequence[float]) -> Tensor:
    """Return the weights [2, 3] of a 1D image that is doubled: zero insertion and low-pass filter.

    Output 2 i + a is Σ_p phases[a, p] x[i + p − 1], for four taps or fewer.
    """
    line = torch.tensor(taps, dtype=torch.float64)
    line = line / line.sum() * 2
    n = len(line)
    # Where zero insertion and padding put the first output sample; see stylegan2.upsample2d.
    shift = (n + 1) // 2
    result = torch.zeros(2, 3, dtype=torch.float64)
    for a in range(2):
        for p in range(3):
            t = 2 * (p - 1) - a + shift
            if 0 <= t < n:
                result[a, p] = line[n - 1 - t]
    return result


def upsampled(image: Tensor, taps: Sequence[float]) -> Tensor:
    """stylegan2.upsample2d of an image [height, width, channels], without inserting zeros."""
    weights = phases(taps).tolist()
    for dim in (0, 1):
        size = image.shape[dim]
        padded = F.pad(image, (0, 0, 1, 1) if dim == 1 else (0, 0, 0, 0, 1, 1))
        shifted = [padded.narrow(dim, p, size) for p in range(3)]
        parts = []
        for phase in weights:
            used = [(w, x) for w, x in zip(phase, shifted, strict=True) if w != 0]
            total = used[0][1] * used[0][0]
            for w, x in used[1:]:
                total = total.add_(x, alpha=w)
            parts.append(total)
        image = torch.stack(parts, dim=dim + 1).flatten(dim, dim + 1)
    return image


class Conv3x3:
    """One convolution with its bias and activation, for weights [out, in, 3, 3] that are already modulated.

    Args:
        weight: [out, in, 3, 3].
        bias: [out].
        slope: of a leaky ReLU, for what is below zero; 1 is none.
        gain: positive factor after the activation.
        clamp: bound after the gain.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, slope: float, gain: float, clamp: float | None):
        self.slope, self.gain, self.clamp = slope, gain, clamp
        self.weights = transformed(weight * gain, WEIGHTS)  # a positive gain passes through the activation
        self.bias = bias * gain

    def __call__(
        self,
        x: Tensor | Doubled,
        *,
        noise: Tensor | None = None,
        then: Callable[[Tensor], Tensor] | None = None,
        keep: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """The framed result, and of all its pixels what ``then`` made.

        Args:
            x: framed, [height + 2, width + 2, in], or made when it is needed; both sides multiples of 4.
            noise: added before the bias, [height, width].
            then: maps pixels [n, out] to [n, m].
            keep: False leaves the first result out (an empty tensor).
        """
        height, width, inside = x.shape[0] - 2, x.shape[1] - 2, x.shape[2]
        like = x.x if isinstance(x, Doubled) else x
        rows, columns, out = height // 4, width // 4, len(self.bias)
        result = empty_frame(height, width, out, like) if keep else like.new_empty(0)
        step = max(TILES_AT_ONCE // columns, 1)
        mapped: list[list[Tensor]] = [[] for _ in range(num_threads_on(like.device))]

        def bands(slice_number: int, begin: int, stop: int) -> None:
            # Bands share their memory: fresh pages would cost a sixth of the time.
            most = min(step, stop - begin)
            transformed = like.new_empty(36 * most * columns * inside)
            products = like.new_empty(36 * most * columns * out)
            band = like.new_empty(0 if keep else 4 * most, width, out)
            for first, count, window in windows(x, begin, stop, step):
                number = count * columns
                data = transformed[: 36 * number * inside].view(36, number, inside)
                product = products[: 36 * number * out].view(36, number, out)
                to_frequencies(window, data)
                torch.bmm(data, self.weights, out=product)
                start, end = 4 * first, 4 * (first + count)
                lines = result[1 + start : 1 + end, 1:-1] if keep else band[: end - start]
                from_frequencies(
                    product,
                    lines,
                    self.bias,
                    noise=None if noise is None else noise[start:end],
                    noise_gain=self.gain,
                    slope=self.slope,
                    clamp=self.clamp,
                )
                if then is not None:
                    mapped[slice_number].append(then(lines.reshape(-1, out)).view(*lines.shape[:2], -1))

        run_on_torch_threads(bands, rows, like.device)
        return result, torch.cat([lines for part in mapped for lines in part]) if then is not None else None


class DoublingConv3x3:
    """One doubling convolution with its bias and activation. Arguments: Conv3x3, and the taps of the low-pass filter,
    four or fewer."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        slope: float,
        gain: float,
        clamp: float | None,
        taps: Sequence[float],
    ):
        self.slope, self.gain, self.clamp = slope, gain, clamp
        weights = transformed(weight * gain, WEIGHTS_OF_PHASES).unflatten(0, (6, 6))
        self.weights = (weights[:5, :5].flatten(0, 1), weights[:5, 5], weights[5, :5], weights[5, 5:])
        """By the phases of rows and columns: even-even [25, in, out], even-odd, odd-even [5, ...], odd-odd [1, ...]."""
        self.bias = bias * gain
        # The filter sees one pixel before its place to two behind it; see stylegan2.convolve.
        before = (len(taps) + 1) // 2 - 1
        line = [0.0] * (1 - before) + [2 * tap / sum(taps) for tap in reversed(taps)]
        tap0, tap1, tap2, tap3 = line + [0.0] * (4 - len(line))
        self.taps = (tap0, tap1, tap2, tap3)

    def __call__(self, x: Tensor, *, noise: Tensor | None = None) -> Doubled:
        """Return the result, made band by band when it is needed.

        Args:
            x: framed, [height + 2, width + 2, in]; both sides multiples of 4.
            noise: added before the bias, [2 · height, 2 · width].
        """
        return Doubled(self, x, noise)

    def fill(
        self, x: Tensor, noise: Tensor | None, begin: int, end: int, lines: Callable[[int, int], Tensor]
    ) -> Iterator[int]:
        """Write the rows begin..end of the result band by band, and yield the end of each band.

        lines: rows of the result → where they are written, [rows, 2 · width, out].
        """
        inside, columns, out = x.shape[2], tiles_across(x), len(self.bias)
        step = max(DOUBLED_TILES_AT_ONCE // columns, 1)
        most = sum(sizes_of_phases(step, columns))
        transformed, products = x.new_empty(most, inside), x.new_empty(most, out)
        unfiltered = x.new_zeros(3 + 8 * step, 8 * columns, out)  # three rows of the band before, then this one's
        # Tiles of a row give the rows 8 · row − 3 to 8 · row + 7. The filter sees one row before and two behind, and
        # gives the rows 8 · row − 2 to 8 · row + 5.
        wanted, stop = (begin + 2) // 8, (end + 1) // 8 + 1
        row = max(wanted - 1, 0)
        while row < stop:
            count = 1 if row < wanted else min(step, stop - row)
            sizes = sizes_of_phases(count, columns)
            data, product = transformed[: sum(sizes)], products[: sum(sizes)]
            to_phases(x, data, row, count)
            for weights, some, into in zip(self.weights, data.split(sizes), product.split(sizes), strict=True):
                n = len(weights)
                torch.bmm(some.view(n, -1, inside), weights, out=into.view(n, -1, out))
            from_phases(product, unfiltered[3 : 3 + 8 * count])
            if row >= wanted:
                first, last = max(8 * row - 2, begin), min(8 * (row + count) - 2, end)
                low_pass(
                    unfiltered[first + 2 - 8 * row : last + 5 - 8 * row],
                    lines(first, last),
                    self.taps,
                    self.bias,
                    noise=None if noise is None else noise[first:last],
                    noise_gain=self.gain,
                    slope=self.slope,
                    clamp=self.clamp,
                )
                yield last
            unfiltered[:3] = unfiltered[8 * count : 8 * count + 3].clone()
            row += count


@dataclass(frozen=True)
class Doubled:
    """The result of a doubling convolution, never written as a whole: it is twice as wide and high as x, and what
    reads it needs a few rows at a time."""

    conv: DoublingConv3x3
    x: Tensor  # framed, [height + 2, width + 2, in]
    noise: Tensor | None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return [2 · height + 2, 2 · width + 2, out], its frame included."""
        return 2 * self.x.shape[0] - 2, 2 * self.x.shape[1] - 2, len(self.conv.bias)

    def windows(self, begin: int, stop: int, step: int) -> Iterator[tuple[int, int, Tensor]]:
        """See `windows`."""
        height, width, out = self.shape
        height -= 2
        band = 8 * max(DOUBLED_TILES_AT_ONCE // tiles_across(self.x), 1)
        held = self.x.new_zeros(4 * step + band + 3, width, out)
        top, first = 4 * begin - 1, begin  # the row of the image in held[0], and the next row of tiles
        rows = self.conv.fill(
            self.x, self.noise, max(top, 0), min(4 * stop + 1, height), lambda a, b: held[a - top : b - top, 1:-1]
        )
        for end in rows:
            if end == height:
                held[end - top] = 0  # the frame
                end += 1
            while first < stop and end > 4 * min(first + step, stop):
                count = min(step, stop - first)
                yield first, count, held[4 * first - 1 - top : 4 * (first + count) + 1 - top]
                first += count
            left = held[4 * first - 1 - top : end - top]
            overlaps = len(left) > 4 * first - 1 - top
            held[: len(left)] = left.clone() if overlaps else left
            top = 4 * first - 1


def windows(x: Tensor | Doubled, begin: int, stop: int, step: int) -> Iterator[tuple[int, int, Tensor]]:
    """Yield the rows begin..stop of tiles, `step` at a time: the first, their number, and the rows of the framed image
    that they read, [4 · number + 2, width + 2, channels]."""
    if isinstance(x, Doubled):
        yield from x.windows(begin, stop, step)
        return
    for first in range(begin, stop, step):
        count = min(step, stop - first)
        yield first, count, x[4 * first : 4 * (first + count) + 2]


def transformed(weight: Tensor, transform: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return weights [out, in, 3, 3] in frequencies [36, in, out], by the transform [6, 3] of each side."""
    out, inside = weight.shape[:2]
    one = torch.tensor(transform, dtype=torch.float64)
    both = torch.kron(one, one).to(weight)
    return (both @ weight.permute(2, 3, 1, 0).reshape(9, inside * out)).view(36, inside, out)


def empty_frame(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """An image with a border of zeros, [height + 2, width + 2, channels], not yet painted inside."""
    image = like.new_empty(height + 2, width + 2, channels)
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        edge.zero_()
    return image


def framed(image: Tensor) -> Tensor:
    """An image [height, width, channels] with the border of zeros that convolutions read."""
    height, width, channels = image.shape
    result = empty_frame(height, width, channels, image)
    result[1:-1, 1:-1] = image
    return result
