"""Learning rates and noise of the published inversions, a pair for each step."""

from __future__ import annotations

import math
from typing import NamedTuple

PTI_STEPS = 450
PIGAN_STEPS = 700


class Rate(NamedTuple):
    """Of one step."""

    learning_rate: float
    noise: float
    """Standard deviation of the noise on the latent: of PTI in units of the latent's own, of π-GAN absolute."""


def pti_schedule(steps: int = PTI_STEPS, *, peak: float = 0.01, noise: float = 0.05) -> list[Rate]:
    """Return the schedule of pivotal tuning's projection (arxiv.org/abs/2106.05744), which is StyleGAN2's.

    The rate rises linearly over the first twentieth, so that the first step has none, and falls along a cosine over the
    last quarter. The noise falls quadratically to 0 at three quarters.
    """

    def at(done: float) -> Rate:
        fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - done) / 0.25))
        return Rate(peak * fall * min(1.0, done / 0.05), noise * max(0.0, 1 - done / 0.75) ** 2)

    return [at(step / steps) for step in range(steps)]


def pigan_schedule(steps: int = PIGAN_STEPS, *, peak: float = 0.01, hold: int = 100) -> list[Rate]:
    """Return the schedule of π-GAN's inversion (arxiv.org/abs/2012.00926, section 4.3): the rate falls to three
    quarters after every `hold` steps, and the noise linearly to 0."""
    return [Rate(peak * 0.75 ** (step // hold), 0.03 * (steps - step) / steps) for step in range(steps)]
