"""Configurations of DeepSDF training: the paper's, and the starter model's."""

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
    decoder_rate: float = 1e-3  # Adam, with a cosine decay from here …
    code_rate: float = 1e-3
    final_rate: float = 0.01  # … to this fraction
    rate_warmup: int = 200  # steps
    clamp: float = 0.1  # δ, canonical units
    code_std: float = 0.01  # of the initial codes (Sec. 4.2)
    code_weight: float = 1e-4  # λ
    code_weight_warmup: int = 2_000  # steps until λ has its full value
    seed: int = 0


def official() -> DeepSDFTraining:
    """The network and the rates of the paper: 8 × 512 with 256-d codes, for a GPU and thousands of shapes."""
    spec = DecoderSpec(dropout=tuple(range(8)), dropout_prob=0.2)
    return DeepSDFTraining(
        spec, steps=1_000_000, shapes_per_step=64, points_per_shape=16_384, decoder_rate=5e-4, code_rate=1e-3
    )


def small() -> DeepSDFTraining:
    """The starter model: 8 × 256 with 64-d codes, well under an hour on one idle CPU core.

    Forward and backward take 6 operations for each of 440,000 multiplications, 2.6 million a point; a core that
    multiplies matrices at 65 GFLOP/s processes 25,000 points a second, so 13,000 steps of 4096 points take 36 minutes.
    """
    return DeepSDFTraining(
        DecoderSpec(latent_size=64, dims=(256,) * 8), steps=13_000, mirror=True, decoder_rate=2e-3, code_rate=4e-3
    )
