"""Checkerboards of upsampling networks: power at the frequencies that repeat with the doublings.

A network that doubles its image k times can only repeat patterns of 2, 4, … 2^k pixels; they show as peaks of the power
spectrum at 1/2, 1/4, … of the sampling frequency (distill.pub/2016/deconv-checkerboard; arxiv.org/abs/1907.06515).
"""

from __future__ import annotations

import torch
from torch import Tensor

NEIGHBOURS = (2, 3)
"""Distances, in steps of the spectrum, of the frequencies that a peak is compared with."""


def checkerboard(images: Tensor) -> dict[int, float]:
    """Return the power of patterns of 2 and 4 pixels relative to that of frequencies nearby; without peaks, about 1.

    images: [n, 3, side, side], square, of at least 32 pixels. Each image is multiplied by a Hann window; along rows and
    along columns, the mean power spectra of all lines of all images are compared, and the larger ratio is returned.
    """
    side = images.shape[-1]
    if images.shape[-2] != side or side < 32:
        raise ValueError(f"square images of at least 32 pixels are compared, got {list(images.shape)}")
    grey = images.double().mean(1)
    window = torch.hann_window(side, periodic=False, dtype=torch.float64)
    grey = (grey - grey.mean((1, 2), keepdim=True)) * window[:, None] * window
    found = {}
    spectra = [torch.fft.rfft(grey, dim=axis).abs().square().mean((0, 3 - axis)) for axis in (1, 2)]
    for period in (2, 4):
        place = side // period
        ratios = []
        for spectrum in spectra:
            beside = [spectrum[place - d] for d in NEIGHBOURS]
            if period > 2:
                beside += [spectrum[place + d] for d in NEIGHBOURS]
            ratios.append(spectrum[place] / torch.stack(beside).mean())
        found[period] = float(max(ratios))
    return found
