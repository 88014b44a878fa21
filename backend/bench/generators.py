"""Generators at their official full sizes, against this project's own reference path in the same run.

The reference path is the one that parity is proved with: separate up-sampling and filters, every sample
evaluated, the backbone once for each frame. Paths take turns; each figure is a median. Every case also reports:

* the PSNR of the fast render to the reference one, both over white;
* the peak memory of a process that does nothing but two renders, on either path (`generator_memory`);
* the arithmetic limit: the time in which this machine's sgemm, measured in the same run, would do the matrix products
  and convolutions that the reference path asks for (as PyTorch's flop counter counts them, two for each
  multiply-add, nothing for what is element-wise), as a share of the time that each path takes. Above 100 % a path is
  faster than the reference one could be.

EG3D's, StyleNeRF's and StyleSDF's weights are random: the work of the first two does not depend on them, and in the
last every sample is visible. π-GAN and GRAF are measured twice:
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
from ..generators.shadegan import model as shadegan
from ..generators.shadegan import scene as shadegan_scene
from ..generators.stylenerf import model as stylenerf
from ..generators.stylenerf import scene as stylenerf_scene
from ..generators.stylesdf import model as stylesdf
from ..generators.stylesdf import scene as stylesdf_scene
from ..models.card import ModelCard
from ..models.library import load_model
from ..scenes.protocol import Image
from ..training.experiments import solid_object
from .clock import matrix_rate, seconds
from .row import Row

CPU = torch.device("cpu")

RenderPath = Literal["reference", "new", "camera", "draft"]
LABELS: dict[RenderPath, str] = {"new": "new latent", "camera": "same latent, new camera", "draft": "draft"}
ROUNDS = 3
PSNR_TARGET = 45.0
PSNR_TARGET_SKIPPING = 40.0
"""For models that skip samples."""

OPTICAL_DEPTH = 1.5
"""Optical depth of an average ray through a field of random weights."""

TINY_SOLID_STEPS = 5


@dataclass(frozen=True)
class Case:
    """A model to measure."""

    title: str
    make: Callable[..., Any]  # whether tiny, folder of fitted weights, device → the generator
    targets: dict[RenderPath, float]  # least ratio of the reference path's time to each other path's
    psnr_target: float = PSNR_TARGET_SKIPPING
    size: int = 128
    memory_size: int = 64
    """Pixels a side above which memory hardly grows, as rays go in chunks."""
    whole_rays: dict[str, float] | None = None
    """Controls with which all of each ray is sampled, where a model samples around a predicted surface."""


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


def make_eg3d(tiny: bool, weights: Path, device: torch.device = CPU) -> Any:
    """FFHQ 512²: 64² rays, 48 + 48 samples."""
    full = eg3d.EG3DConfig(
        superresolution=eg3d.SUPERRESOLUTIONS["SuperresolutionHybrid8XDC"],
        rendering=eg3d.RenderingConfig(neural_resolution=64),
    )
    config = tiny_eg3d() if tiny else full
    return eg3d_scene.load("eg3d", _card("eg3d", config), eg3d.EG3D(config).to(device).state_dict())


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


def make_stylenerf(tiny: bool, weights: Path, device: torch.device = CPU) -> Any:
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
    return stylenerf_scene.load(
        "stylenerf", _card("stylenerf", config), stylenerf.StyleNeRF(config).to(device).state_dict()
    )


def make_stylesdf(tiny: bool, weights: Path, device: torch.device = CPU) -> Any:
    """AFHQ 512²: 64² rays, 24 samples, three doublings."""
    config = stylesdf.StyleSDFConfig(image_size=512, decoder_channels=(512, 512, 256, 128))
    if tiny:
        config = stylesdf.StyleSDFConfig(
            style_dim=16, num_layers=3, thumbnail_size=8, image_size=16, decoder_channels=(8, 6), decoder_style_dim=12
        )
    return stylesdf_scene.load("stylesdf", _card("stylesdf", config), stylesdf.StyleSDF(config).to(device).state_dict())


def make_pigan(tiny: bool, weights: Path, device: torch.device = CPU) -> Any:
    """128², 48 + 48 samples."""
    config = pigan.PiGANConfig(hidden_dim=32, num_steps=12) if tiny else pigan.PiGANConfig()
    network = pigan.PiGAN(config)
    return _with_something_everywhere(
        pigan_scene.load("pigan", _card("pigan", config), network.to(device).state_dict())
    )


def make_shadegan(tiny: bool, weights: Path, device: torch.device = CPU) -> Any:
    """64², 6 + 6 samples with their normals around what the surface network predicts, on either path. Random weights
    miss the surface, so that all of each ray shows another image: only its time is measured."""
    config = shadegan.ShadeGANConfig(hidden_dim=32) if tiny else shadegan.ShadeGANConfig()
    network = shadegan.ShadeGAN(config)
    return _with_something_everywhere(
        shadegan_scene.load("shadegan", _card("shadegan", config), network.to(device).state_dict()),
        scale=2 / config.box_side,
    )


def make_graf(tiny: bool, weights: Path, device: torch.device = CPU) -> Any:
    """128², 64 samples."""
    config = graf.GRAFConfig(hidden_dim=32, num_samples=12) if tiny else graf.GRAFConfig()
    return _with_something_everywhere(
        graf_scene.load("graf", _card("graf", config), graf.GRAF(config).to(device).state_dict())
    )


def make_solid_pigan(tiny: bool, weights: Path, device: torch.device = CPU) -> Any:
    """The same sizes, with a solid object in it."""
    return load_model(weights / "pigan", device)


def make_solid_graf(tiny: bool, weights: Path, device: torch.device = CPU) -> Any:
    """The same sizes, with a solid object in it."""
    return load_model(weights / "graf", device)


def _card(kind: str, config: Any) -> ModelCard:
    return ModelCard(kind, kind, "random weights", "none", False, dataclasses.asdict(config))


def _with_something_everywhere(generator: Any, scale: float = 1.0) -> Any:
    """Scale density so that half of all points have some, and an average ray loses most of its light on its way.

    scale: of the network's points to canonical ones.
    """
    network, config = generator.network, generator.network.config
    with torch.no_grad():
        ws = generator.mapping(generator.sample_z(0))
        points = (2 * torch.rand(1, 4096, 3).to(ws) - 1) * config.half_depth
        raw = network.density(network.features(ws, points * scale))
        # The mean of what is positive of a centred normal variable is 0.4 of its deviation.
        gain = OPTICAL_DEPTH / (0.4 * raw.std() * 2 * config.half_depth)
        network.density.weight.mul_(gain)
        network.density.bias.copy_((network.density.bias - raw.mean()) * gain)
    return generator


CASES = {
    "eg3d": Case(
        "EG3D 512²", make_eg3d, {"new": 2.5, "camera": 3.5, "draft": 12.0}, PSNR_TARGET, size=512, memory_size=512
    ),
    "stylenerf": Case("StyleNeRF 512²", make_stylenerf, {"new": 1.8}, PSNR_TARGET, size=512, memory_size=512),
    "stylesdf": Case(
        "StyleSDF 512²",
        make_stylesdf,
        {"new": 2.5, "camera": 2.5, "draft": 5.0},
        PSNR_TARGET,
        size=512,
        memory_size=512,
    ),
    "pigan": Case("π-GAN 128², random weights", make_pigan, {"new": 1.5}),
    "shadegan": Case(
        "ShadeGAN 64², random weights",
        make_shadegan,
        {"new": 2.5, "camera": 2.5},
        size=64,
        whole_rays={"surface_tracking": 0.0},
    ),
    "graf": Case("GRAF 128², random weights", make_graf, {"new": 1.5}),
    "pigan-solid": Case("π-GAN 128², solid object", make_solid_pigan, {"new": 4.0, "camera": 4.0}),
    "graf-solid": Case("GRAF 128², solid object", make_solid_graf, {"new": 4.0, "camera": 4.0}),
}


class Renders:
    """One latent of a generator, and its render by every path."""

    def __init__(self, case: Case, weights: Path, device: torch.device = CPU, *, tiny: bool, size: int):
        torch.manual_seed(0)
        self.generator = case.make(tiny, weights, device)
        self.ws = self.generator.mapping(self.generator.sample_z(0))[0]
        self.first, self.other = (from_wire(orbit(self.generator.info, size, azimuth=a), device) for a in (0.2, -0.2))
        self.kept: Any = None

    def take(self, path: RenderPath, camera: Camera | None = None) -> Image:
        """Return the render of `camera`, by default of the other one."""
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
                self.kept.render(self.first)  # computes all that depends on the latent alone
            image = self.kept.render(camera, quality="draft" if path == "draft" else "full")
        return image


def psnr(got: Tensor, expected: Tensor) -> float:
    """Peak signal-to-noise ratio, dB, of images in 0..1."""
    return -10 * math.log10(max(float((got - expected).square().mean()), 1e-20))


def over_white(image: Image) -> Tensor:
    """RGB of the image over white."""
    return image.rgb * image.alpha[..., None] + 1 - image.alpha[..., None]


def fitted_weights(
    case: str, weights: Path, device: torch.device, *, tiny: bool, report: Callable[[str], None]
) -> None:
    """Make the weights of a solid object where they are missing."""
    kind, _, solid = case.partition("-")
    if solid and not (weights / kind / "card.json").is_file():
        report(f"fitting a solid object with {kind} into {weights / kind}")
        for known in solid_object.KINDS:
            if known == kind:
                steps = TINY_SOLID_STEPS if tiny else None
                solid_object.fit(known, weights / kind, steps=steps, device=device, report=report)


def peak_memory(case: str, path: str, weights: Path, device: torch.device, *, tiny: bool) -> float:
    """Peak memory (MB) of a process that takes two renders by one path."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "backend.bench.generator_memory",
            case,
            path,
            str(weights.absolute()),
            str(int(tiny)),
            str(device),
        ],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the process that measures memory ended with {done.returncode}: {done.stderr[-500:]}")
    return float(done.stdout)


def measured(
    name: str, weights: Path, device: torch.device, *, tiny: bool, report: Callable[[str], None]
) -> Iterator[Row]:
    """The figures of one case."""
    case = CASES[name]
    fitted_weights(name, weights, device, tiny=tiny, report=report)
    renders = Renders(case, weights, device, tiny=tiny, size=16 if tiny else case.size)
    counter = FlopCounterMode(display=False)
    with counter:
        expected = renders.take("reference")
    operations = float(counter.get_total_flops())
    decibels = psnr(over_white(renders.take("new")), over_white(expected))
    yield Row(
        f"{case.title}: PSNR to the reference render", decibels, "dB", case.psnr_target, decibels >= case.psnr_target
    )

    paths: tuple[RenderPath, ...] = ("reference", *case.targets)
    times: dict[RenderPath, list[float]] = {path: [] for path in paths}
    side, budget = 1024 if device.type == "cpu" or tiny else 8192, 0.05 if tiny else 0.5
    whole: list[float] = []
    rates = [matrix_rate(device, side, budget)]
    for path in case.targets:
        renders.take(path)  # warms up
    for _ in range(1 if tiny else ROUNDS):
        for path in paths:
            times[path].append(seconds(lambda path=path: renders.take(path)))  # type: ignore[misc]
        if case.whole_rays is not None:
            scene = renders.generator.synthesize(renders.ws, case.whole_rays)
            whole.append(seconds(lambda scene=scene: scene.render(renders.other, reference=True)))  # type: ignore[misc]
        rates.append(matrix_rate(device, side, budget))
    rate = max(rates)
    slow = statistics.median(times["reference"])
    yield Row(f"{case.title}: reference", slow, "s")
    yield Row(f"{case.title}: its matrix products and convolutions", operations / 1e9, "GFLOP")
    yield Row(f"{case.title}: sgemm, {torch.get_num_threads()} threads", rate / 1e9, "GFLOP/s")
    yield Row(f"{case.title}: reference, share of the arithmetic limit", 100 * operations / rate / slow, "%")
    for path, target in case.targets.items():
        typical = statistics.median(times[path])
        # Neighbours in time are compared, so that a slow minute of the machine hits both.
        ratio = statistics.median(a / b for a, b in zip(times["reference"], times[path], strict=True))
        title = f"{case.title}: {LABELS[path]}"
        yield Row(title, typical, "s")
        yield Row(f"{title}, speed-up", ratio, "×", target, ratio >= target)
        if whole:
            against = statistics.median(a / b for a, b in zip(whole, times[path], strict=True))
            yield Row(f"{title}, against the reference path along all of each ray", against, "×")
        if path != "draft":
            yield Row(f"{title}, share of the arithmetic limit", 100 * operations / rate / typical, "%")
    before = peak_memory(name, "reference", weights, device, tiny=tiny)
    peak = peak_memory(name, "new", weights, device, tiny=tiny)
    yield Row(f"{case.title}: peak memory, reference", before, "MB")
    yield Row(f"{case.title}: peak memory, new latent", peak, "MB", before, peak <= before)


def rows(
    *,
    only: tuple[str, ...] = (),
    weights: Path | None = None,
    device: torch.device = CPU,
    tiny: bool = False,
    on_row: Callable[[Row], None] = lambda row: None,
    report: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """See backend.bench. A failing case becomes a row with its error, and the others go on.

    Args:
        only: keys of CASES; empty for all.
        device: on another one than the processor there are no targets.
        weights: folder with fitted weights, one model folder for each kind; None: in the folder of the user's data.
        tiny: small networks and renders, for tests.
        on_row: is given each row as it comes.
        report: is given a line about what takes long.

    Raises:
        InvalidRequest: `only` names an unknown case.
    """
    for name in only:
        if name not in CASES:
            raise InvalidRequest(f"There is no generator {name!r} to measure. There are: {', '.join(CASES)}.")
    found: list[Row] = []
    folder = weights or data_folder() / "bench" / ("solid-tiny" if tiny else "solid")
    for name in only or CASES:
        try:
            for row in measured(name, folder, device, tiny=tiny, report=report):
                if device != CPU:  # targets are those of the processor
                    row = replace(row, target=None, ok=True)
                found.append(row)
                on_row(row)
        except Exception as error:  # any error fails only its own case
            found.append(Row(f"{CASES[name].title}: failed: {type(error).__name__}: {error}", 0.0, "", None, False))
            on_row(found[-1])
    return found
