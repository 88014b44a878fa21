"""Statistics of a generator's latents: where its own are, and how far apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...scenes.generator import Generator

SAMPLES = 512
SMALLEST_DEVIATION = 1e-3
"""Of a number of ws, over the largest one."""


@dataclass(frozen=True)
class LatentSpace:
    """ws in units of their own spread: ws = mean + deviation · x.

    mean, deviation: [num_ws, w_dim]. shared: the mapping repeats one w for every row, so that w is a space, too, in
    which x is [1, w_dim] (otherwise only w+ is, where x is [num_ws, w_dim]). seeds: ws of the first seeds.
    """

    mean: Tensor
    deviation: Tensor
    shared: bool
    seeds: Tensor

    def ws(self, x: Tensor) -> Tensor:
        """Return ws [num_ws, w_dim] of x [1 or num_ws, w_dim]."""
        return self.mean + self.deviation * x

    def x(self, ws: Tensor) -> Tensor:
        """Return x of a mapped ws, in w if it is a space, else in w+."""
        x = (ws - self.mean) / self.deviation
        return x[:1] if self.shared else x


@torch.no_grad()
def latent_space(generator: Generator, samples: int = SAMPLES) -> LatentSpace:
    """Return the statistics of the latents of a generator's first seeds."""
    ws = generator.mapping(torch.cat([generator.sample_z(seed) for seed in range(samples)]))
    deviation = ws.std(0)
    shared = bool((ws == ws[:, :1]).all())
    return LatentSpace(ws.mean(0), deviation.clamp(min=SMALLEST_DEVIATION * float(deviation.max())), shared, ws)
