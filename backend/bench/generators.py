"""Generators at their official full sizes, against this project's own straightforward path in the same run.

Weights are random: the work does not depend on them, except where empty space is skipped. One function for each model.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ..cameras import from_wire, orbit
from ..checkpoints.store import ModelCard
from . import Row

ROUNDS = 3
PSNR_BAR = 45.0


def psnr(got: Tensor, expected: Tensor) -> float:
    """Peak signal-to-noise ratio, dB, of images in 0..1."""
    return -10 * math.log10(max(float((got - expected).square().mean()), 1e-20))


def alternated(runs: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each run, taken in turn so that a slow minute of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if number > 0:  # the first round warms up
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def random_card(kind: str, constructor: dict[str, object]) -> ModelCard:
    """The card of a network with random weights."""
    return ModelCard(kind, kind, "random weights", "none", False, constructor)


def eg3d() -> list[Row]:
    """EG3D, FFHQ 512²: 64² rays, 48 + 48 samples."""
    import dataclasses

    from ..generators.eg3d.model import EG3D, SUPERRESOLUTIONS, EG3DConfig, RenderingConfig, load

    torch.manual_seed(0)
    config = EG3DConfig(
        superresolution=SUPERRESOLUTIONS["SuperresolutionHybrid8XDC"], rendering=RenderingConfig(neural_resolution=64)
    )
    network = EG3D(config)
    generator = load("eg3d", random_card("eg3d", dataclasses.asdict(config)), network.state_dict())
    ws = generator.mapping(generator.sample_z(0))[0]
    camera = from_wire(orbit(generator.info, 512, azimuth=0.2))
    other = from_wire(orbit(generator.info, 512, azimuth=-0.2))
    scene = generator.synthesize(ws)
    scene.render(camera)  # prepares the superresolution

    times = alternated(
        {
            "slow": lambda: generator.synthesize(ws, straightforward=True).render(other),
            "new": lambda: generator.synthesize(ws).render(other),
            "camera": lambda: scene.render(other),
            "draft": lambda: scene.render(other, quality="draft"),
        }
    )
    expected = generator.synthesize(ws, straightforward=True).render(other).rgb
    return rows_of(
        "EG3D 512²", times, {"new": 2.0, "camera": 3.5, "draft": 12.0}, psnr(scene.render(other).rgb, expected)
    )


def stylenerf() -> list[Row]:
    """StyleNeRF, FFHQ 512²: 32² rays, 14 + 14 samples, four doublings."""
    import dataclasses

    from ..generators.stylenerf.model import FieldConfig, StyleNeRF, StyleNeRFConfig, UpsamplerConfig, load

    torch.manual_seed(0)
    config = StyleNeRFConfig(
        z_dim=512,
        w_dim=512,
        foreground=FieldConfig(z_dim=0, feature_dim=256),
        background=FieldConfig(z_dim=32, feature_dim=256, hidden=64, num_layers=4, inverse_sphere=True),
        upsampler=UpsamplerConfig(resolutions=(64, 128, 256, 512), channels=(512, 256, 128, 64)),
    )
    network = StyleNeRF(config)
    generator = load("stylenerf", random_card("stylenerf", dataclasses.asdict(config)), network.state_dict())
    ws = generator.mapping(generator.sample_z(0))[0]
    camera = from_wire(orbit(generator.info, 512, azimuth=0.2))
    times = alternated(
        {
            "slow": lambda: generator.synthesize(ws, straightforward=True).render(camera),
            "frame": lambda: generator.synthesize(ws).render(camera),
        }
    )
    expected = generator.synthesize(ws, straightforward=True).render(camera).rgb
    decibels = psnr(generator.synthesize(ws).render(camera).rgb, expected)
    return rows_of("StyleNeRF 512²", times, {"frame": 1.8}, decibels)


LABELS = {"new": "new latent", "camera": "same latent, new camera", "draft": "draft", "frame": "frame"}


def rows_of(model: str, times: dict[str, float], bars: dict[str, float], decibels: float) -> list[Row]:
    """Seconds, ratios to "slow" with their bars, and the PSNR of the full picture."""
    rows = [Row(f"{model}, straightforward", times["slow"], "s")]
    for name, bar in bars.items():
        ratio = times["slow"] / times[name]
        rows.append(Row(f"{model}, {LABELS[name]}", times[name], "s"))
        rows.append(Row(f"{model}, {LABELS[name]}: ratio", ratio, "x", bar, ratio >= bar))
    rows.append(Row(f"{model}, PSNR to the straightforward picture", decibels, "dB", PSNR_BAR, decibels >= PSNR_BAR))
    return rows


def rows() -> list[Row]:
    """See backend.bench."""
    return [row for model in (eg3d, stylenerf) for row in model()]
