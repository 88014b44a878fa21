"""3 × 3 convolutions of one latent, precomputed: fewer multiplications, no separate filter passes.

Winograd's minimal filtering F(4 × 4, 3 × 3) (arxiv.org/abs/1509.09308) makes 4 × 4 outputs of a 6 × 6 *tile* with 36
multiplications for each pair of channels instead of 144: transform tile and weights, multiply, transform back. An
up-sampling convolution (zero insertion, transposed convolution, low-pass filter) is four 3 × 3 convolutions, one for
each *phase* of the doubled grid. Their weights are linear in the original ones, so the filter folds into the transform
of the weights and costs nothing afterwards.

Images here are channels-last, [height, width, channels], without a batch. Work goes in bands of tile rows that stay in
the cache, and whatever is done to each pixel afterwards (noise, bias, activation, a 1 × 1 convolution) happens there.
The transforms are those of backend/kernels/winograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.winograd import from_frequencies, to_frequencies
from ...threads import num_threads_on, run_on_torch_threads

TILES_AT_ONCE = 128

# Transform for the interpolation points 0, ±1, ±2, ∞ (section 4.3 of the paper); the others are in kernels/winograd.
WEIGHTS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def phases(taps: Sequence[float], kernel_size: int) -> Tensor:
    """Return the matrices [2, 3, kernel_size] that split a 1D upsampling convolution into one per phase.

    Output 2 i + a is Σ_p K_a[p] x[i + p − 1] with K_a = phases[a] @ w, for a kernel of 1 or 3 and four taps or fewer.
    """
    line = torch.tensor(taps, dtype=torch.float64)
    line = line / line.sum() * 2
    n = len(line)
    # Where zero insertion and padding put the first output sample; see stylegan2.convolve.
    shift = kernel_size // 2 + (n + 1) // 2 - (kernel_size - 1)
    result = torch.zeros(2, 3, kernel_size, dtype=torch.float64)
    for a in range(2):
        for p in range(3):
            for k in range(kernel_size):
                t = 2 * (p - 1) - a + shift + k
                if 0 <= t < n:
                    result[a, p, k] = line[n - 1 - t]
    return result


def upsampled(image: Tensor, taps: Sequence[float]) -> Tensor:
    """stylegan2.upsample2d of an image [height, width, channels], without inserting zeros."""
    weights = phases(taps, 1)[:, :, 0].tolist()
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
        gain: factor after the activation.
        clamp: bound after the gain.
        taps: low-pass filter of an up-sampling convolution; None keeps the size.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        slope: float,
        gain: float,
        clamp: float | None,
        taps: Sequence[float] | None = None,
    ):
        self.scale = 1 if taps is None else 2
        self.slope, self.gain, self.clamp = slope, gain, clamp
        self.out_channels = weight.shape[0]
        one = torch.tensor(WEIGHTS, dtype=torch.float64)  # [6, 3]
        # [phases, 6, 3]; a positive gain passes through the activation, so the weights take it.
        transform = one[None] if taps is None else one @ phases(taps, 3)
        transform = transform.flatten(0, 1).to(weight)
        out, inside = weight.shape[:2]
        # Both dimensions at once, as one product: [phases 6 phases 6, 9] · [9, in out].
        both = torch.kron(transform, transform)
        u = both @ (weight * gain).permute(2, 3, 1, 0).reshape(9, inside * out)
        s = self.scale
        u = u.reshape(s, 6, s, 6, inside, out).permute(1, 3, 4, 0, 2, 5)
        self.weights = u.reshape(36, inside, s * s * out).contiguous()
        self.bias = bias * gain

    def __call__(
        self,
        x: Tensor,
        *,
        noise: Tensor | None = None,
        then: Callable[[Tensor], Tensor] | None = None,
        keep: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """The framed result, and of all its pixels what ``then`` made.

        Args:
            x: framed, [height + 2, width + 2, in]; both sides multiples of 4.
            noise: added before the bias, [scale · height, scale · width].
            then: maps pixels [n, out] to [n, m].
            keep: False leaves the first result out (an empty tensor).
        """
        height, width, inside = x.shape[0] - 2, x.shape[1] - 2, x.shape[2]
        rows, columns, s, out = height // 4, width // 4, self.scale, self.out_channels
        result = empty_frame(s * height, s * width, out, x) if keep else x.new_empty(0)
        step = max(TILES_AT_ONCE // columns, 1)
        mapped: list[list[Tensor]] = [[] for _ in range(num_threads_on(x.device))]

        def bands(slice_number: int, begin: int, stop: int) -> None:
            # Bands share their memory: fresh pages would cost a sixth of the time.
            most = min(step, stop - begin)
            transformed = x.new_empty(36 * most * columns * inside)
            products = x.new_empty(36 * most * columns * s * s * out)
            band = x.new_empty(0 if keep else 4 * s * most, s * width, out)
            for first in range(begin, stop, step):
                count = min(step, stop - first)
                number = count * columns
                data = transformed[: 36 * number * inside].view(36, number, inside)
                product = products[: 36 * number * s * s * out].view(36, number, s * s * out)
                to_frequencies(x[4 * first : 4 * (first + count) + 2], data)
                torch.bmm(data, self.weights, out=product)
                start, end = 4 * s * first, 4 * s * (first + count)
                lines = result[1 + start : 1 + end, 1:-1] if keep else band[: end - start]
                from_frequencies(
                    product,
                    lines,
                    self.bias,
                    noise=None if noise is None else noise[start:end],
                    noise_gain=self.gain,
                    scale=s,
                    slope=self.slope,
                    clamp=self.clamp,
                )
                if then is not None:
                    mapped[slice_number].append(then(lines.reshape(-1, out)).view(*lines.shape[:2], -1))

        run_on_torch_threads(bands, rows, x.device)
        return result, torch.cat([lines for part in mapped for lines in part]) if then is not None else None


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
