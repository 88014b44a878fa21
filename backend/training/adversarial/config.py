"""What the configurations of all adversarial trainings share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Loss = Literal["published", "r3gan"]
"""published: the model's own paper. r3gan: relativistic pairing with R1 and R2 (arxiv.org/abs/2501.05441)."""


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining:
    """One training run. Stored whole in its checkpoint. Each model's configuration derives from it."""

    steps: int
    batch: int  # images a step, of all processes together
    loss: Loss = "published"
    gamma: float = 1.0  # weight of the gradient penalties: γ/2 · |∇D|²
    final_gamma: float | None = None  # reached at the last step along a cosine; None: constant
    regularise_every: int = 1  # steps between gradient penalties, which then weigh as much more
    generator_rate: float = 2e-4
    discriminator_rate: float = 2e-4
    final_rate: float = 1.0  # both rates fall to this fraction along a cosine
    betas: tuple[float, float] = (0.0, 0.99)  # of Adam
    mean_kimg: float = 0.5  # half-life of the running mean of the generator's weights, thousands of images …
    mean_ramp: float = 0.05  # … and at most this fraction of the images seen so far
    mixed_precision: bool = False  # bfloat16 where PyTorch's autocast takes it, on CUDA …
    mixed_on_cpu: bool = False  # … and on a CPU: faster where it has instructions for it, and mostly matrix products
    seed: int = 0

    def batch_at(self, step: int) -> int:
        """Return the number of images of a step, of all processes together."""
        return self.batch

    def images_before(self, step: int) -> int:
        """Return the number of images that were seen before a step."""
        return step * self.batch

    def gamma_at(self, step: int) -> float:
        """Return the weight of the gradient penalties at a step."""
        return _cosine(self.gamma, self.gamma if self.final_gamma is None else self.final_gamma, step / self.steps)

    def rate_at(self, step: int) -> float:
        """Return the factor on both learning rates at a step."""
        return _cosine(1.0, self.final_rate, step / self.steps)

    def mean_decay(self, step: int) -> float:
        """Return the part of itself that the running mean of the weights keeps after a step."""
        half_life = min(1000 * self.mean_kimg, self.mean_ramp * self.images_before(step + 1))
        return 0.5 ** (self.batch_at(step) / half_life) if half_life > 0 else 0.0


def _cosine(first: float, last: float, fraction: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(max(fraction, 0.0), 1.0))) / 2
