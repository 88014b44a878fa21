"""The bench of EG3D's training: both engines take the same steps, and each is timed."""

from __future__ import annotations

from dataclasses import replace

import torch

from backend.bench.eg3d_training import random_images, step_seconds
from backend.training.adversarial.run import RunOptions
from backend.training.eg3d.config import small
from backend.training.eg3d.discriminator import GrowingDiscriminatorConfig
from backend.training.eg3d.small import train_small

BASE = small()
RENDERING = replace(BASE.generator.rendering, neural_resolution=16, depth_resolution=4)
UPPER = replace(BASE.generator.superresolution, input_resolution=16)
TINY = replace(
    BASE, batch=2, steps=2, half_until=0.0, superresolve_from=1.0,
    discriminator=GrowingDiscriminatorConfig(channels=(4, 8), pose_features=4),
    generator=replace(BASE.generator, decoder_width=8, rendering=RENDERING, superresolution=UPPER),
)  # fmt: skip


def test_both_engines_take_the_same_steps_and_all_but_the_first_are_timed() -> None:
    quiet = RunOptions(progress=lambda *_: None)
    found = {}
    for engine in ("reference", "fused"):
        run = train_small(replace(TINY, steps=1), random_images(32), None, quiet, impl=engine)  # type: ignore[arg-type]
        found[engine] = dict(run.generator.named_parameters())
    assert torch.allclose(
        found["reference"]["decoder.hidden.weight"], found["fused"]["decoder.hidden.weight"], atol=1e-3
    )
    assert len(step_seconds("fused", 3, TINY)) == 2
