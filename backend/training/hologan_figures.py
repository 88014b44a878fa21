"""What is said of a trained HoloGAN, measured: how near its pictures are to real ones, whether it turns as it is asked
to, and whether a turned object stays the one it was.

No network that was trained on photographs is at hand, so the pictures are compared by `PictureFeatures`, a small one
that learns from the chairs of `chair_views` which pictures show the same chair, from where, and in what colours.

    features   python -m backend.training.hologan_figures features VIEWS OUT      trains it, some minutes
    figures    python -m backend.training.hologan_figures figures VIEWS OUT RUN   measures the run in RUN
    export     python -m backend.training.hologan_figures export VIEWS OUT RUN    OUT/model with its card, OUT/sweep.png
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from scipy.linalg import sqrtm
from torch import Tensor, nn

from ..cameras import from_wire, orbit
from ..generators.hologan.model import Generator
from ..generators.hologan.scene import Facing
from ..models.card import ModelCard
from ..models.library import load_model
from ..models.store import save_model, write_atomically
from . import chair_views
from .deepsdf_export import picture
from .hologan import HoloGANTraining, contact_sheet, random_views, small, views_at

NUM_FEATURES = 64
THUMBNAIL = 8
"""Side of the picture that the features must be enough to draw."""
TEMPERATURE = 0.1
STEPS = 700
METRES_PER_UNIT = 0.6111  # the median of the chairs' sizes, as of the DeepSDF starter model
CHAIRS_PER_STEP = 32


class PictureFeatures(nn.Module):
    """Pictures [N, 3, 64, 64] in -1..1 to features [N, 64], and what these say."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 96)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(widths))
        self.features = nn.Linear(widths[-1] * 16, NUM_FEATURES)
        self.identity = nn.Linear(NUM_FEATURES, 32)  # alike for pictures of one chair in one dress
        self.pose = nn.Linear(NUM_FEATURES, 3)  # sine and cosine of the azimuth, elevation
        self.thumbnail = nn.Linear(NUM_FEATURES, 3 * THUMBNAIL**2)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features [N, 64]."""
        x = pictures
        for convolution in self.convolutions:
            x = F.leaky_relu(convolution(x), 0.2)
        out: Tensor = self.features(x.flatten(1))
        return out

    def identities(self, features: Tensor) -> Tensor:
        """Return unit vectors [N, 32]: near each other for pictures of one chair in one dress."""
        return F.normalize(self.identity(F.leaky_relu(features, 0.2)), dim=-1)

    def azimuths(self, features: Tensor) -> Tensor:
        """Return the azimuth [N] that pictures seem to be taken from, radians."""
        sine, cosine, _ = self.pose(F.leaky_relu(features, 0.2)).unbind(-1)
        return torch.atan2(sine, cosine)


def as_input(images: np.ndarray) -> Tensor:
    """Return pictures [..., 64, 64, 3] uint8 as the networks take them: [N, 3, 64, 64] in -1..1."""
    flat = torch.from_numpy(images.reshape(-1, *images.shape[-3:]))
    return flat.permute(0, 3, 1, 2).float() / 127.5 - 1


def train_features(views: dict[str, np.ndarray], steps: int = STEPS, seed: int = 0) -> PictureFeatures:
    """Train on chairs [chairs, 24, …]. A batch has two views of each of some chairs: of the 2n - 1 other pictures the
    one of the same chair must be the most alike, and azimuth, elevation and thumbnail must be read off the features."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = PictureFeatures()
    adam = torch.optim.Adam(network.parameters(), 2e-3)
    per_variant, variants = chair_views.VIEWS_PER_VARIANT, chair_views.NUM_VARIANTS
    count = min(CHAIRS_PER_STEP, len(views["images"]))
    partner = torch.arange(2 * count).roll(count)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 2e-3 * min(1.0, 2 - 2 * step / steps)
        chosen = random.choice(len(views["images"]), count, replace=False)
        variant = random.integers(variants, size=count)
        two = np.argsort(random.random((count, per_variant)), axis=1)[:, :2] + variant[:, None] * per_variant
        index = (np.tile(chosen, 2), np.concatenate((two[:, 0], two[:, 1])))
        pictures = as_input(views["images"][index])
        azimuth, elevation = (torch.from_numpy(views[name][index]) for name in ("azimuths", "elevations"))
        features = network(pictures)
        alike = network.identities(features)
        similarity = alike @ alike.T / TEMPERATURE - 1e9 * torch.eye(2 * count)
        active = F.leaky_relu(features, 0.2)
        pose = torch.stack((azimuth.sin(), azimuth.cos(), elevation), -1)
        small_pictures = F.adaptive_avg_pool2d(pictures, THUMBNAIL).flatten(1)
        loss = (
            F.cross_entropy(similarity, partner)
            + 3 * F.mse_loss(network.pose(active), pose)
            + 3 * F.mse_loss(network.thumbnail(active), small_pictures)
        )
        adam.zero_grad()
        loss.backward()
        adam.step()
        if (step + 1) % 50 == 0:
            sys.stderr.write(f"features: step {step + 1}/{steps}  loss {loss.item():.3f}\n")
    return network.eval().requires_grad_(False)


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return the squared Fréchet distance of two Gaussians fitted to features [N, d] and [M, d]:
    |μ - ν|² + tr(A + B - 2 √(A B)) (Eq. 6 of arxiv.org/abs/1706.08500)."""
    a, b = first.double().numpy(), second.double().numpy()
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(covariance_a @ covariance_b).real
    distance = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covariance_a + covariance_b - 2 * root)
    return float(max(distance, 0.0))


@torch.no_grad()
def generated(generator: Generator, config: HoloGANTraining, count: int, seed: int = 7) -> Tensor:
    """Return pictures [count, 3, side, side] of random codes from random trained views."""
    random = torch.Generator().manual_seed(seed)
    z = torch.rand(count, config.generator.z_dim, generator=random) * 2 - 1
    views = random_views(config, count, random)
    return torch.cat([generator(a, b) for a, b in zip(z.split(64), views.split(64), strict=True)])


@dataclass(frozen=True)
class Turning:
    """How asked azimuths become seen ones: seen = direction · asked + offset, degrees."""

    direction: float  # ±1
    offset: float
    slope: float  # degrees seen for a degree asked, in the direction
    error: float  # root mean square of what is left with slope 1
    correlation: float  # of asked and seen azimuth


@torch.no_grad()
def turning(generator: Generator, config: HoloGANTraining, network: PictureFeatures, count: int = 512) -> Turning:
    """Measure where objects seem to be seen from, against where they were asked to be."""
    random = torch.Generator().manual_seed(11)
    z = torch.rand(count, config.generator.z_dim, generator=random) * 2 - 1
    views = random_views(config, count, random)
    seen = torch.cat(
        [network.azimuths(network(generator(a, b))) for a, b in zip(z.split(64), views.split(64), strict=True)]
    )
    asked = views[:, 0]
    fits = []
    for direction in (1.0, -1.0):
        left = seen - direction * asked
        middle = torch.atan2(left.sin().mean(), left.cos().mean())
        left = torch.remainder(left - middle + math.pi, 2 * math.pi) - math.pi
        fits.append((float(left.square().mean().sqrt()), direction, float(middle)))
    error, direction, offset = min(fits)
    unwrapped = torch.remainder(seen - offset - direction * asked + math.pi, 2 * math.pi) - math.pi + direction * asked
    centred = asked - asked.mean()
    slope = float((centred * unwrapped).sum() / centred.square().sum()) * direction
    correlation = float(torch.corrcoef(torch.stack((asked, unwrapped)))[0, 1])
    return Turning(direction, math.degrees(offset), slope, math.degrees(error), correlation)


def facing_of(found: Turning, half_size: float) -> Facing:
    """Return how world azimuths become the network's. The ranges of both are the same to either side of the front, so
    the middle of one is that of the other, and only the direction is open."""
    return Facing(0.0, found.direction, half_size)


@torch.no_grad()
def identity_ratio(pictures: Tensor, network: PictureFeatures) -> tuple[float, float]:
    """Return the mean distances of identities [objects, views, 3, 64, 64]: among views of one object, and of views of
    different ones."""
    objects, views = pictures.shape[:2]
    found = network.identities(network(pictures.flatten(0, 1))).view(objects, views, -1)
    distances = torch.cdist(found.flatten(0, 1), found.flatten(0, 1)).view(objects, views, objects, views)
    same = torch.eye(objects, dtype=torch.bool)[:, None, :, None].expand(-1, views, -1, views)
    itself = torch.eye(objects * views, dtype=torch.bool).view(objects, views, objects, views)
    return float(distances[same & ~itself].mean()), float(distances[~same].mean())


@torch.no_grad()
def sweeps(generator: Generator, config: HoloGANTraining, objects: int = 48, views: int = 7) -> Tensor:
    """Return pictures [objects, views, 3, side, side]: each of some codes, turned through the trained azimuths."""
    random = torch.Generator().manual_seed(23)
    z = torch.rand(objects, config.generator.z_dim, generator=random) * 2 - 1
    azimuth = torch.linspace(-config.azimuth, config.azimuth, views)
    at = views_at(azimuth, torch.full((views,), sum(config.elevation) / 2))
    return torch.stack([generator(one.expand(views, -1), at) for one in z])


def in_range(views: dict[str, np.ndarray], azimuth: float) -> Tensor:
    """Return the real pictures [N, 3, 64, 64] taken within ± azimuth of the front."""
    turned = np.abs((views["azimuths"] + math.pi) % (2 * math.pi) - math.pi)
    return as_input(views["images"][turned <= azimuth])


@torch.no_grad()
def features_of(network: PictureFeatures, pictures: Tensor) -> Tensor:
    """Return features [N, 64], a few pictures at a time."""
    return torch.cat([network(part) for part in pictures.split(64)])


def measure(
    run: Path, views: Path, network: PictureFeatures, config: HoloGANTraining, count: int = 1024
) -> dict[str, Any]:
    """Return every figure of the card."""
    names = ("images", "azimuths", "elevations")
    train = chair_views.load_views(views, range(chair_views.NUM_TRAIN), names)
    held_out = chair_views.load_views(views, chair_views.HELD_OUT, names)
    pictures = in_range(train, config.azimuth)
    real, others = features_of(network, pictures[::2]), features_of(network, pictures[1::2][:count])
    series: dict[str, float] = {}
    generator = Generator(config.generator).eval().requires_grad_(False)
    for path in sorted((run / "snapshots").glob("step*.safetensors")):
        generator.load_state_dict(load_file(path))
        series[path.stem.removeprefix("step").lstrip("0")] = round(
            frechet_distance(features_of(network, generated(generator, config, count)), real), 3
        )
    unseen = in_range(held_out, config.azimuth)
    held = as_input(held_out["images"])
    seen_azimuth = network.azimuths(features_of(network, held))
    error = seen_azimuth - torch.from_numpy(held_out["azimuths"]).flatten()
    error = torch.remainder(error + math.pi, 2 * math.pi) - math.pi
    real_views = held.view(len(held_out["images"]) * chair_views.NUM_VARIANTS, chair_views.VIEWS_PER_VARIANT, 3, 64, 64)
    noise = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return {
        "frechet": series,
        "frechet_of_other_real_pictures": round(frechet_distance(others, real), 3),
        "frechet_of_held_out_chairs": round(frechet_distance(features_of(network, unseen), real), 3),
        "frechet_of_noise": round(frechet_distance(features_of(network, noise), real), 3),
        "turning": asdict(turning(generator, config, network)),
        "azimuth_error_of_the_network_on_held_out_chairs": round(math.degrees(float(error.square().mean().sqrt())), 1),
        "identity_views_and_others": identity_ratio(sweeps(generator, config), network),
        "identity_views_and_others_real": identity_ratio(real_views, network),
    }


DESCRIPTION = "Chairs as pictures, their features turned in 3D: seen from the front third, without a surface"

CARD = """\
Chairs as pictures (HoloGAN, arxiv.org/abs/1904.01326): a learnt volume of features is styled by a code, turned as
the camera asks, and made a picture of {side}² by a 2D network. No density, no distance: there is no surface.

**Data.** The chairs of `backend/training/chairs.py` (infinigen 1.15.5, BSD-3-Clause; seeds 0–375), dressed in
random materials and rendered by `backend/training/chair_views.py`: the {pictures:,} pictures taken within
±{azimuth:.0f}° of the front, elevation 0° to 35°. The network was told no pose.

**Recipe.** `python -m backend train hologan`: seed 0, {steps:,} steps of {batch} pictures, one CPU core, about an
hour on a busy machine; {parameters:,} parameters. What is kept is the running mean of the weights. Viewpoints are
limited to the front third to keep the task small for so few steps.

**Figures** by a small network trained on the same chairs (`backend/training/hologan_figures.py`; no network for
photographs was used, so they compare with nothing published). Fréchet distance of its features between 1,024
generated and {half:,} real pictures, over training:

{series}

Other real pictures of the same chairs: {frechet_of_other_real_pictures:.1f}; the 13 chairs of the cards, not
trained on: {frechet_of_held_out_chairs:.1f} (104 pictures); noise: {frechet_of_noise:.0f}.

**Does it turn?** Asked for an azimuth, the picture seems taken from it times {slope:.2f}, with {error:.0f}° of root
mean square error around {offset:.0f}°, where the measuring network itself errs by {own:.0f}° on real pictures of
chairs it never saw. Correlation {correlation:.2f}.

**Does it stay itself?** Mean distance of what the network takes for a chair's identity, unit vectors: between views
of one code {same:.2f}, of different codes {other:.2f}; real chairs {real_same:.2f} and {real_other:.2f}.

**View consistency**, that is how well neighbouring views agree by reprojection, is measured in docs/models.md.

{weak}
"""


def export(run: Path, views: Path, out: Path, config: HoloGANTraining, weak: str) -> Path:
    """Write the starter model's folder `out/model` from the last snapshot of a run and `out/figures.json`."""
    found = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    steps = max(int(step) for step in found["frechet"])
    generator = Generator(config.generator).eval().requires_grad_(False)
    generator.load_state_dict(load_file(run / "snapshots" / f"step{steps:06d}.safetensors"))
    real = in_range(chair_views.load_views(views, range(chair_views.NUM_TRAIN), ("images", "azimuths")), config.azimuth)
    turned = Turning(**found["turning"])
    shown = list(found["frechet"])
    series = "| steps |" + "".join(f" {int(step):,} |" for step in shown) + "\n|---|" + "---|" * len(shown)
    series += "\n| distance |" + "".join(f" {found['frechet'][step]:.1f} |" for step in shown)
    same, other = found["identity_views_and_others"]
    real_same, real_other = found["identity_views_and_others_real"]
    text = CARD.format(
        side=config.generator.side, pictures=len(real), half=(len(real) + 1) // 2, steps=steps, batch=config.batch,
        azimuth=math.degrees(config.azimuth), parameters=sum(p.numel() for p in generator.parameters()),
        series=series, slope=turned.slope, offset=turned.offset, error=turned.error,
        correlation=abs(turned.correlation),
        own=found["azimuth_error_of_the_network_on_held_out_chairs"], same=same, other=other, real_same=real_same,
        real_other=real_other, weak=weak, **{key: found[key] for key in found if key.startswith("frechet_of_")},
    )  # fmt: skip
    card = ModelCard(
        kind="hologan",
        label="Chairs (HoloGAN)",
        description=DESCRIPTION,
        licence="GPL-3.0-or-later; trained on procedural chairs made with infinigen (BSD-3-Clause)",
        non_commercial=False,
        constructor={
            "network": asdict(config.generator),
            "facing": asdict(facing_of(turned, chair_views.CUBE_HALF)),
        },
        source="starter",
        metres_per_unit=METRES_PER_UNIT,
        pose_prior={
            "radius": round(chair_views.DISTANCE * METRES_PER_UNIT, 4),
            "fov": chair_views.FOV,
            "azimuth": (-config.azimuth, config.azimuth),
            "elevation": config.elevation,
            "default_azimuth": math.radians(25),
            "default_elevation": math.radians(18),
        },
        background="white",
        card=text.strip() + "\n",
    )
    folder = out / "model"
    save_model(folder, card, generator.state_dict())
    model = load_model(folder)
    with torch.no_grad():
        thumbnail = model.synthesize(model.mapping(model.sample_z(0))[0]).render(from_wire(orbit(model.info, 256)))
    picture(thumbnail, None).save(folder / "thumbnail.png", optimize=True)
    contact_sheet(generator, config, rows=6, columns=9, scale=1).save(out / "sweep.png", optimize=True)
    return folder


def main(arguments: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["features", "figures", "export"])
    parser.add_argument("views", type=Path, help="the folder that chair_views.py filled")
    parser.add_argument("out", type=Path)
    parser.add_argument("run", type=Path, nargs="?", help="the folder of a training")
    parser.add_argument("--weak", default="", help="export: what the card says of weak points")
    options = parser.parse_args(arguments)
    weights = options.out / "features.safetensors"
    if options.what == "features":
        options.out.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        names = ("images", "azimuths", "elevations")
        network = train_features(chair_views.load_views(options.views, range(chair_views.NUM_TRAIN), names))
        write_atomically(weights, save(network.state_dict()))
        sys.stdout.write(f"{weights}: {time.perf_counter() - started:.0f} s\n")
        return
    if options.what == "export":
        sys.stdout.write(f"{export(options.run, options.views, options.out, small(), options.weak)}\n")
        return
    network = PictureFeatures().eval().requires_grad_(False)
    network.load_state_dict(load_file(weights))
    found = measure(options.run, options.views, network, small())
    write_atomically(options.out / "figures.json", (json.dumps(found, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
