"""DeepSDF's decoder on many points: the fast path against plain torch, the same weights, in one run.

One core, so that a number means the same on every machine with that core. Engines alternate; each figure is a median.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ..cameras import from_wire, orbit
from ..generators.deepsdf.model import Decoder, DecoderSpec
from ..generators.deepsdf.scene import DeepSDF
from ..kernels.sdf_mlp import Impl, MlpWeights, sdf_mlp
from ..models.library import load_model
from ..models.store import model_folder
from .row import Row

POINTS = 65_536
ROUNDS = 7
TARGET_SPEEDUPS = {"8×256, code 64: forward": 1.3}
"""Elsewhere folding saves an eighth of the multiplications at most: it must not be slower."""

TARGET_DIFFERENCE = 1e-5
QUALITIES: tuple[Literal["draft", "full"], ...] = ("draft", "full")


def rows() -> list[Row]:
    """Points a second of each engine, their ratio, their largest difference, and the seconds of a 256² render."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _rows()
    finally:
        torch.set_num_threads(threads)


def _rows() -> list[Row]:
    found: list[Row] = []
    model = load_model(model_folder("deepsdf_chairs"))
    assert isinstance(model, DeepSDF)
    torch.manual_seed(0)
    official = Decoder(DecoderSpec()).requires_grad_(False).eval()
    networks = (
        ("8×256, code 64", model.decoder, model.codes[0], POINTS),
        ("8×512, code 256", official, torch.randn(256), POINTS // 4),
    )
    for name, decoder, code, count in networks:
        points = 2 * torch.rand(count, 3) - 1
        weights = decoder.weights()

        def forward(impl: Impl, points: Tensor = points, code: Tensor = code, weights: MlpWeights = weights) -> Tensor:
            with torch.no_grad():
                return sdf_mlp(points, code, weights, impl=impl)

        def gradient(
            impl: Impl, points: Tensor = points[: count // 4], code: Tensor = code, weights: MlpWeights = weights
        ) -> Tensor:
            moved = points.clone().requires_grad_()
            return torch.autograd.grad(sdf_mlp(moved, code, weights, impl=impl).sum(), moved)[0]

        for what, call, number in (("forward", forward, count), ("gradient", gradient, count // 4)):
            reference, folded, ratio = _alternate(call)
            found.append(Row(f"{name}: {what}, plain torch", number / reference / 1e3, "thousand points/s"))
            found.append(Row(f"{name}: {what}, folded", number / folded / 1e3, "thousand points/s"))
            target = TARGET_SPEEDUPS.get(f"{name}: {what}", 1.0)
            found.append(Row(f"{name}: {what}, speed-up", ratio, "×", target, ratio >= target))
            difference = float((call("reference") - call("folded")).abs().max())
            found.append(
                Row(
                    f"{name}: {what}, largest difference",
                    difference,
                    "",
                    TARGET_DIFFERENCE,
                    difference <= TARGET_DIFFERENCE,
                )
            )

    camera = from_wire(orbit(model.info, 256))
    seconds: dict[str, list[float]] = {"full": [], "draft": []}
    for seed in range(3):
        scene = model.synthesize(model.mapping(model.sample_z(seed))[0])
        for quality in QUALITIES:
            started = time.perf_counter()
            scene.render(camera, quality=quality)
            seconds[quality].append(time.perf_counter() - started)
    for quality, values in seconds.items():
        median = statistics.median(values)
        found.append(Row(f"render 256², {quality}", median, "s", None, True))
    return found


def _alternate(call: Callable[[Impl], Tensor]) -> tuple[float, float, float]:
    """Median seconds of both engines, and the median of the ratios of neighbouring runs."""
    reference: list[float] = []
    folded: list[float] = []
    engines: tuple[tuple[Impl, list[float]], ...] = (("reference", reference), ("folded", folded))
    for turn in range(ROUNDS + 1):
        for impl, times in engines:
            started = time.perf_counter()
            call(impl)
            if turn > 0:  # the first is warming up
                times.append(time.perf_counter() - started)
    ratio = statistics.median(a / b for a, b in zip(reference, folded, strict=True))
    return statistics.median(reference), statistics.median(folded), ratio
