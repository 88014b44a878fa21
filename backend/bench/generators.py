"""Generators at their official full sizes, against this project's own reference path in the same run.

The reference path is the one that parity is proved with: separate up-sampling and filters, every sample
evaluated, the backbone once for each frame. Paths take turns; each figure is a median. Three more things are said of
every case:

* the PSNR of the fast picture to the reference one, both over white;
* the peak memory of a process that does nothing but two pictures, on either path (`generator_memory`);
* the arithmetic limit: the time in which this machine's sgemm, measured in the same run, would do the matrix products
  and convolutions that the reference path asks for (as PyTorch's flop counter counts them, two for each
  multiply-add, nothing for what is element-wise), as a share of the time that each path takes. Above 100 % a path is
  faster than the reference one could be.

EG3D's and StyleNeRF's weights are random, for their work does not depend on them. π-GAN and GRAF are measured twice:
with random weights whose density is scaled so that nothing is empty and nothing opaque, where no sample can be left out
for being empty or hidden, and with weights that hold a solid object (backend/training/experiments/solid_object.py),
from the folder WEIGHTS/pigan or WEIGHTS/graf, fitted there first if it is missing.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from addon.wire.errors import InvalidRequest

from ..cameras import Camera, from_wire, orbit
from ..folders import data_folder
from ..generators.eg3d import model as eg3d
from ..generators.eg3d import scene as eg3d_scene
from ..generators.graf import model as graf
from ..generators.graf import scene as graf_scene
from ..generators.pigan import model as pigan
from ..generators.pigan import scene as pigan_scene
from ..generators.stylenerf import model as stylenerf
from ..generators.stylenerf import scene as stylenerf_scene
from ..models.card import ModelCard
from ..models.library import load_model
from ..scenes.protocol import Image
from ..training.experiments import solid_object
from . import Row

PicturePath = Literal["reference", "new", "camera", "draft"]
LABELS: dict[PicturePath, str] = {"new": "new latent", "camera": "same latent, new camera", "draft": "draft"}
ROUNDS = 3
PSNR_BAR = 45.0
PSNR_BAR_SKIPPING = 40.0
"""Where samples are left out."""

OPTICAL_DEPTH = 1.5
"""Of an average way through a field of random weights."""

TINY_SOLID_STEPS = 5


@dataclass(frozen=True)
class Case:
    """A model to measure."""

    title: str
    make: Callable[[bool, Path], Any]  # whether tiny, folder of fitted weights → the generator
    bars: dict[PicturePath, float]  # what the reference path must take of each other path's time
    psnr_bar: float = PSNR_BAR_SKIPPING
    size: int = 128
    memory_size: int = 64
    """Pixels a side from which on memory hardly grows: rays go in chunks."""


def tiny_eg3d() -> eg3d.EG3DConfig:
    """An EG3D for tests."""
    superresolution = dataclasses.replace(
        eg3d.SUPERRESOLUTIONS["SuperresolutionHybrid2X"], input_resolution=16, channels=(8, 6)
    )
    return eg3d.EG3DConfig(
        superresolution=superresolution,
        w_dim=16,
        backbone=eg3d.BackboneConfig(resolution=16, channel_base=128, channel_max=8),
        rendering=eg3d.RenderingConfig(neural_resolution=12, depth_resolution=8, depth_resolution_importance=8),
    )


def make_eg3d(tiny: bool, weights: Path) -> Any:
    """FFHQ 512²: 64² rays, 48 + 48 samples."""
    full = eg3d.EG3DConfig(
        superresolution=eg3d.SUPERRESOLUTIONS["SuperresolutionHybrid8XDC"],
        rendering=eg3d.RenderingConfig(neural_resolution=64),
    )
    config = tiny_eg3d() if tiny else full
    return eg3d_scene.load("eg3d", _card("eg3d", config), eg3d.EG3D(config).state_dict())


def tiny_stylenerf() -> stylenerf.StyleNeRFConfig:
    """A StyleNeRF for tests."""
    field = stylenerf.FieldConfig
    return stylenerf.StyleNeRFConfig(
        z_dim=8,
        w_dim=16,
        foreground=field(z_dim=0, feature_dim=8, hidden=8, num_layers=3),
        background=field(z_dim=4, feature_dim=8, hidden=6, num_layers=2, inverse_sphere=True),
        renderer=stylenerf.RendererConfig(num_samples=6, num_background_samples=3, resolution=8),
        upsampler=stylenerf.UpsamplerConfig(resolutions=(16, 32), channels=(8, 4)),
        start_resolution=8,
    )


def make_stylenerf(tiny: bool, weights: Path) -> Any:
    """FFHQ 512²: 32² rays, 14 + 14 samples, four doublings."""
    field = stylenerf.FieldConfig
    full = stylenerf.StyleNeRFConfig(
        z_dim=512,
        w_dim=512,
        foreground=field(z_dim=0, feature_dim=256),
        background=field(z_dim=32, feature_dim=256, hidden=64, num_layers=4, inverse_sphere=True),
        upsampler=stylenerf.UpsamplerConfig(resolutions=(64, 128, 256, 512), channels=(512, 256, 128, 64)),
    )
    config = tiny_stylenerf() if tiny else full
    return stylenerf_scene.load("stylenerf", _card("stylenerf", config), stylenerf.StyleNeRF(config).state_dict())


def make_pigan(tiny: bool, weights: Path) -> Any:
    """128², 48 + 48 samples."""
    config = pigan.PiGANConfig(hidden_dim=32, num_steps=12) if tiny else pigan.PiGANConfig()
    network = pigan.PiGAN(config)
    return _with_something_everywhere(pigan_scene.load("pigan", _card("pigan", config), network.state_dict()))


def make_graf(tiny: bool, weights: Path) -> Any:
    """128², 64 samples."""
    config = graf.GRAFConfig(hidden_dim=32, num_samples=12) if tiny else graf.GRAFConfig()
    return _with_something_everywhere(graf_scene.load("graf", _card("graf", config), graf.GRAF(config).state_dict()))


def make_solid_pigan(tiny: bool, weights: Path) -> Any:
    """The same sizes, with a solid object in it."""
    return load_model(weights / "pigan")


def make_solid_graf(tiny: bool, weights: Path) -> Any:
    """The same sizes, with a solid object in it."""
    return load_model(weights / "graf")


def _card(kind: str, config: Any) -> ModelCard:
    return ModelCard(kind, kind, "random weights", "none", False, dataclasses.asdict(config))


def _with_something_everywhere(generator: Any) -> Any:
    """Scale density so that half of all points have some, and an average ray loses most of its light on its way."""
    network, config = generator.network, generator.network.config
    with torch.no_grad():
        ws = generator.mapping(generator.sample_z(0))
        points = (2 * torch.rand(1, 4096, 3) - 1) * config.half_depth
        raw = network.density(network.features(ws, points))
        # The mean of what is positive of a centred normal variable is 0.4 of its deviation.
        scale = OPTICAL_DEPTH / (0.4 * raw.std() * 2 * config.half_depth)
        network.density.weight.mul_(scale)
        network.density.bias.copy_((network.density.bias - raw.mean()) * scale)
    return generator


CASES = {
    "eg3d": Case(
        "EG3D 512²", make_eg3d, {"new": 2.0, "camera": 3.5, "draft": 12.0}, PSNR_BAR, size=512, memory_size=512
    ),
    "stylenerf": Case("StyleNeRF 512²", make_stylenerf, {"new": 1.8}, PSNR_BAR, size=512, memory_size=512),
    "pigan": Case("π-GAN 128², random weights", make_pigan, {"new": 1.5}),
    "graf": Case("GRAF 128², random weights", make_graf, {"new": 1.5}),
    "pigan-solid": Case("π-GAN 128², solid object", make_solid_pigan, {"new": 4.0, "camera": 4.0}),
    "graf-solid": Case("GRAF 128², solid object", make_solid_graf, {"new": 4.0, "camera": 4.0}),
}


class Pictures:
    """One latent of a generator, and its picture by every path."""

    def __init__(self, case: Case, weights: Path, *, tiny: bool, size: int):
        torch.manual_seed(0)
        self.generator = case.make(tiny, weights)
        self.ws = self.generator.mapping(self.generator.sample_z(0))[0]
        self.first, self.other = (from_wire(orbit(self.generator.info, size, azimuth=a)) for a in (0.2, -0.2))
        self.kept: Any = None

    def take(self, path: PicturePath, camera: Camera | None = None) -> Image:
        """Return the picture of `camera` (the other one if none is named)."""
        camera = camera or self.other
        image: Image
        if path == "reference":
            if self.generator.info.kind in ("eg3d", "stylenerf"):
                image = self.generator.synthesize(self.ws, reference=True).render(camera)
            else:
                image = self.generator.synthesize(self.ws).render(camera, reference=True)
        elif path == "new":
            image = self.generator.synthesize(self.ws).render(camera)
        else:
            if self.kept is None:
                self.kept = self.generator.synthesize(self.ws)
                self.kept.render(self.first)  # what depends on the latent alone is made now
            image = self.kept.render(camera, quality="draft" if path == "draft" else "full")
        return image


def psnr(got: Tensor, expected: Tensor) -> float:
    """Peak signal-to-noise ratio, dB, of images in 0..1."""
    return -10 * math.log10(max(float((got - expected).square().mean()), 1e-20))


def over_white(image: Image) -> Tensor:
    """The picture as it is shown."""
    return image.rgb * image.alpha[..., None] + 1 - image.alpha[..., None]


def sgemm_rate(seconds: float, size: int = 1024) -> float:
    """Multiply-adds a second, times two, of the best of many products of square matrices."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    out, best, end = torch.empty(size, size), math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best


def fitted_weights(case: str, weights: Path, *, tiny: bool, report: Callable[[str], None]) -> None:
    """Make the weights of a solid object where they are missing."""
    kind, _, solid = case.partition("-")
    if solid and not (weights / kind / "card.json").is_file():
        report(f"fitting a solid object with {kind} into {weights / kind}")
        for known in solid_object.KINDS:
            if known == kind:
                solid_object.fit(known, weights / kind, steps=TINY_SOLID_STEPS if tiny else None, report=report)


def peak_memory(case: str, path: str, weights: Path, *, tiny: bool) -> float:
    """Peak memory (MB) of a process that takes two pictures by one path."""
    done = subprocess.run(
        [sys.executable, "-m", "backend.bench.generator_memory", case, path, str(weights.absolute()), str(int(tiny))],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process that measures memory ended with {done.returncode}: {done.stderr[-500:]}")
    return float(done.stdout)


def measured(name: str, weights: Path, *, tiny: bool, report: Callable[[str], None]) -> Iterator[Row]:
    """The figures of one case."""
    case = CASES[name]
    fitted_weights(name, weights, tiny=tiny, report=report)
    pictures = Pictures(case, weights, tiny=tiny, size=16 if tiny else case.size)
    counter = FlopCounterMode(display=False)
    with counter:
        expected = pictures.take("reference")
    operations = float(counter.get_total_flops())
    decibels = psnr(over_white(pictures.take("new")), over_white(expected))
    yield Row(f"{case.title}: PSNR to the reference picture", decibels, "dB", case.psnr_bar, decibels >= case.psnr_bar)

    paths: tuple[PicturePath, ...] = ("reference", *case.bars)
    times: dict[PicturePath, list[float]] = {path: [] for path in paths}
    seconds_of_sgemm = 0.05 if tiny else 0.5
    rates = [sgemm_rate(seconds_of_sgemm)]
    for path in case.bars:
        pictures.take(path)  # warms up
    for _ in range(1 if tiny else ROUNDS):
        for path in paths:
            started = time.perf_counter()
            pictures.take(path)
            times[path].append(time.perf_counter() - started)
        rates.append(sgemm_rate(seconds_of_sgemm))
    rate = max(rates)
    slow = statistics.median(times["reference"])
    yield Row(f"{case.title}: reference", slow, "s")
    yield Row(f"{case.title}: its matrix products and convolutions", operations / 1e9, "GFLOP")
    yield Row(f"{case.title}: sgemm, {torch.get_num_threads()} threads", rate / 1e9, "GFLOP/s")
    yield Row(f"{case.title}: reference, share of the arithmetic limit", 100 * operations / rate / slow, "%")
    for path, bar in case.bars.items():
        seconds = statistics.median(times[path])
        # Neighbours in time are compared, so that a slow minute of the machine hits both.
        ratio = statistics.median(a / b for a, b in zip(times["reference"], times[path], strict=True))
        title = f"{case.title}: {LABELS[path]}"
        yield Row(title, seconds, "s")
        yield Row(f"{title}, speed-up", ratio, "×", bar, ratio >= bar)
        if path != "draft":
            yield Row(f"{title}, share of the arithmetic limit", 100 * operations / rate / seconds, "%")
    before = peak_memory(name, "reference", weights, tiny=tiny)
    peak = peak_memory(name, "new", weights, tiny=tiny)
    yield Row(f"{case.title}: peak memory, reference", before, "MB")
    yield Row(f"{case.title}: peak memory, new latent", peak, "MB", before, peak <= before)


def rows(
    *,
    only: tuple[str, ...] = (),
    weights: Path | None = None,
    tiny: bool = False,
    on_row: Callable[[Row], None] = lambda row: None,
    report: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """See backend.bench. A case that fails is a row that says so, and the others go on.

    Args:
        only: keys of CASES; empty for all.
        weights: folder with fitted weights, one model folder for each kind; None: in the folder of the user's data.
        tiny: small networks and pictures, for tests.
        on_row: is given each row as it comes.
        report: is given a line about what takes long.

    Raises:
        InvalidRequest: `only` names a case that is none.
    """
    for name in only:
        if name not in CASES:
            raise InvalidRequest(f"There is no generator {name!r} to measure. There are: {', '.join(CASES)}.")
    found: list[Row] = []
    for name in only or CASES:
        try:
            for row in measured(name, weights or data_folder() / "bench" / "solid", tiny=tiny, report=report):
                found.append(row)
                on_row(row)
        except Exception as error:  # whatever it is, it is one case's
            found.append(Row(f"{CASES[name].title}: failed: {type(error).__name__}: {error}", 0.0, "", None, False))
            on_row(found[-1])
    return found
