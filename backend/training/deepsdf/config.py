"""Training DeepSDF, the loop of the lecture: an auto-decoder learns a network and one code for each shape together.

There is no encoder. Every shape i owns a code z_i, a free parameter that starts as small noise; network θ and codes
minimise the same loss by gradient descent (Eq. 9 of arxiv.org/abs/1901.05103):

    Σ_i Σ_j | clamp(f_θ(z_i, x_j), δ) - clamp(s_j, δ) |  +  λ |z_i|²

The clamp (Eq. 4) spends the network near the surface, and the prior on z keeps the codes in one cloud, so that a point
between two codes is again a shape. The prior is faded in, for a code must first become different from its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...generators.deepsdf.model import DecoderSpec


@dataclass(frozen=True)
class DeepSDFTraining:
    """One training run. Stored whole in its checkpoint."""

    decoder: DecoderSpec
    mirror: bool = False  # every shape is symmetric in x: train and evaluate at (|x|, y, z)
    steps: int = 20_000
    shapes_per_step: int = 16
    points_per_shape: int = 256
    decoder_rate: float = 1e-3  # Adam, with a cosine from here …
    code_rate: float = 1e-3
    final_rate: float = 0.01  # … to this fraction
    rate_warmup: int = 200  # steps
    clamp: float = 0.1  # δ, canonical units
    code_std: float = 0.01  # of the first codes (Sec. 4.2)
    code_weight: float = 1e-4  # λ
    code_weight_warmup: int = 2_000  # steps until λ counts in full
    seed: int = 0


def official() -> DeepSDFTraining:
    """The network and the rates of the paper: 8 × 512 with 256-d codes, for an accelerator and thousands of shapes."""
    spec = DecoderSpec(dropout=tuple(range(8)), dropout_prob=0.2)
    return DeepSDFTraining(
        spec, steps=1_000_000, shapes_per_step=64, points_per_shape=16_384, decoder_rate=5e-4, code_rate=1e-3
    )


def small() -> DeepSDFTraining:
    """The starter model: 8 × 256 with 64-d codes, well under an hour on one idle CPU core.

    Forward and backward take 6 operations for each of 440,000 multiplications, 2.6 million for each point; a core that
    multiplies matrices at 65 GFLOP/s draws 25,000 points a second, so 13,000 steps of 4096 take 36 minutes.
    """
    return DeepSDFTraining(
        DecoderSpec(latent_size=64, dims=(256,) * 8), steps=13_000, mirror=True, decoder_rate=2e-3, code_rate=4e-3
    )
