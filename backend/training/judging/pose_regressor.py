"""Pose regressor: azimuth and elevation of the camera, estimated from one image of an object of a known family.

It learns from images with poses, measures itself on objects that it has not seen, and then judges whether a generator
shows an object from where it was asked to, or gives poses to photographs that have none. Azimuth is classified into
bins and then refined, because objects that look alike from two sides have two answers and a mean of them is neither.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from addon.wire.errors import UnreadableFile, UnusableDataset

from ...cameras import look_at
from ...files import write_atomically
from ...progress import Progress, silent
from ...scenes.viewpoint import azimuth_and_elevation
from .feature_networks import BATCH, in_unit_range, resized, small_images

SIDE = 64
BINS = 36
WIDTHS = (3, 32, 64, 96, 128)
BIN_BLUR = 1.0
"""Standard deviation of the target distribution, bins of 10°."""
LEAST_IMAGES = 64


class PoseNetwork(nn.Module):
    """Network from images [n, 3, 64, 64] in 0..1 to the logits of azimuth bins [n, 36] and elevations [n], radians."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise(WIDTHS):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.GroupNorm(8, b), nn.LeakyReLU(0.2)]
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(WIDTHS[-1] * (SIDE >> (len(WIDTHS) - 1)) ** 2, 128)
        self.azimuth = nn.Linear(128, BINS)
        self.elevation = nn.Linear(128, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the network."""
        hidden = F.leaky_relu(self.hidden(self.convolutions(2 * images - 1).flatten(1)), 0.2)
        return self.azimuth(hidden), self.elevation(hidden)[:, 0]


@dataclass(frozen=True)
class PoseErrors:
    """Errors of estimated poses, degrees. Half of the azimuths have less than the median error."""

    azimuth_median: float
    azimuth_rms: float
    elevation_rms: float
    turned_over: float  # share of azimuths that are wrong by more than 90°
    images: int


@dataclass(frozen=True)
class PoseRegressor:
    """A trained network, its errors on objects that it has not seen, and the cameras of its training images."""

    network: PoseNetwork
    held_out: PoseErrors
    radius: float  # distance of the cameras from the object's centre, units of the data
    fov: float  # radians
    trained_on: str = ""  # `kept.digest` of the images

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return azimuth and elevation [n, 2], radians, of images [n, 3, H, W] (uint8, or float in 0..1)."""
        self.network.eval()
        found = []
        for part in images.split(BATCH):
            logits, elevation = self.network(resized(in_unit_range(part), SIDE))
            found.append(torch.stack((peak(logits), elevation), -1))
        return torch.cat(found)


def angles_of(world_from_camera: Tensor) -> Tensor:
    """Return azimuth and elevation [n, 2], radians, of cameras [n, 4, 4] around the origin."""
    return azimuth_and_elevation(world_from_camera[:, :3, 3])


def wrapped(angle: Tensor) -> Tensor:
    """Return angles in -π..π."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


def peak(logits: Tensor) -> Tensor:
    """Return the azimuth [n] of the highest bin, refined by the circular mean with two bins on either side."""
    offsets = torch.arange(-2, 3, device=logits.device)
    near = (logits.argmax(-1, keepdim=True) + offsets) % BINS
    weight = logits.softmax(-1).gather(-1, near)
    angle = (near + 0.5) * (2 * math.pi / BINS)
    return torch.atan2((weight * angle.sin()).sum(-1), (weight * angle.cos()).sum(-1))


def pose_errors(found: Tensor, asked: Tensor) -> PoseErrors:
    """Compare estimated with true angles, both [n, 2]."""
    azimuth = wrapped(found[:, 0] - asked[:, 0]).abs()
    elevation = found[:, 1] - asked[:, 1]
    return PoseErrors(
        math.degrees(float(azimuth.median())),
        math.degrees(float(azimuth.square().mean().sqrt())),
        math.degrees(float(elevation.square().mean().sqrt())),
        float((azimuth > math.pi / 2).float().mean()),
        len(found),
    )


def train_pose_regressor(
    images: Tensor,
    world_from_camera: Tensor,
    objects: Tensor | None = None,
    *,
    fov: float,
    trained_on: str = "",
    steps: int = 1200,
    batch: int = 64,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> PoseRegressor:
    """Train on images [n, 3, side, side] uint8 with cameras [n, 4, 4] around the origin.

    One object in ten is held out, or one image in ten where `objects` [n] is not known. Images are mirrored, shifted,
    scaled, and changed in brightness and sharpness, so that the network also reads images that are a little off.

    Raises:
        UnusableDataset: fewer than 64 images.
    """
    if len(images) < LEAST_IMAGES:
        raise UnusableDataset(f"A pose regressor needs at least {LEAST_IMAGES} images with poses, got {len(images)}.")
    random = torch.Generator().manual_seed(seed)
    groups = torch.arange(len(images)) if objects is None else objects.unique(return_inverse=True)[1]
    order = torch.randperm(int(groups.max()) + 1, generator=random)
    held = order[groups] < max(1, len(order) // 10)
    angles = angles_of(world_from_camera).float()
    train_images, train_angles = small_images(images[~held], SIDE).to(device), angles[~held].to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PoseNetwork().to(device)
    adam = torch.optim.AdamW(network.parameters(), 2e-3, betas=(0.9, 0.98), weight_decay=1e-2)
    centers = (torch.arange(BINS, device=device) + 0.5) * (2 * math.pi / BINS)
    network.train()
    for step in range(steps):
        adam.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 50, 1.5 - 1.5 * step / steps)
        index = torch.randint(len(train_images), (batch,), generator=random).to(device)
        shown, wanted = augmented(in_unit_range(train_images[index]), train_angles[index], random)
        logits, elevation = network(shown)
        bins = wrapped(wanted[:, :1] - centers) * (BINS / (2 * math.pi) / BIN_BLUR)
        target = (-0.5 * bins.square()).softmax(-1)
        loss = F.cross_entropy(logits, target) + 10 * F.mse_loss(elevation, wanted[:, 1])
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        if step % 10 == 0:
            progress(step / steps, "Training the pose regressor", figures={"step": step, "loss": loss.item()})
    network.eval().requires_grad_(False).cpu()
    radius = float(world_from_camera[:, :3, 3].norm(dim=-1).median())
    made = PoseRegressor(network, PoseErrors(math.nan, math.nan, math.nan, math.nan, 0), radius, fov, trained_on)
    return replace(made, held_out=pose_errors(made(images[held]), angles[held]))


def augmented(images: Tensor, angles: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return images [n, 3, side, side] in 0..1, changed at random, and their angles [n, 2]: a mirrored image shows the
    mirrored object from the opposite azimuth."""
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(n, *shape, generator=random) * (high - low) + low).to(images)

    mirrored = uniform(0, 1) < 0.5
    sign = torch.where(mirrored, -1.0, 1.0)
    scale = uniform(0.87, 1.15)
    zero = torch.zeros_like(scale)
    shift = uniform(-0.1, 0.1, 2)
    affine = torch.stack((scale * sign, zero, shift[:, 0], zero, scale, shift[:, 1]), -1).view(n, 2, 3)
    grid = F.affine_grid(affine, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    soft = F.interpolate(F.avg_pool2d(images, 2), images.shape[-2:], mode="bilinear", align_corners=False)
    images = images.lerp(soft, uniform(0, 1, 1, 1, 1))
    images = (images * uniform(0.8, 1.2, 1, 1, 1) + uniform(-0.05, 0.05, 3, 1, 1)).clamp(0, 1)
    return images, torch.stack((angles[:, 0] * sign, angles[:, 1]), -1)


def estimate_poses(regressor: PoseRegressor, images: Tensor) -> Tensor:
    """Return estimated cameras [n, 4, 4] (world_from_camera, OpenCV axes, Z up, the object at the origin) of images
    [n, 3, H, W], each looking at the object from the median distance of the regressor's training images.

    The object must be upright, centred, and as large in the image as in the training images.
    """
    cameras = []
    for azimuth, elevation in regressor(images).tolist():
        level = regressor.radius * math.cos(elevation)
        eye = (level * math.sin(azimuth), -level * math.cos(azimuth), regressor.radius * math.sin(elevation))
        cameras.append(look_at(eye, (0.0, 0.0, 0.0)))
    return torch.tensor(cameras, dtype=torch.float32)


def save_regressor(path: Path, regressor: PoseRegressor) -> None:
    """Write a regressor to a .safetensors file."""
    facts = {
        "held_out": asdict(regressor.held_out), "radius": regressor.radius, "fov": regressor.fov,
        "trained_on": regressor.trained_on,
    }  # fmt: skip
    write_atomically(path, save(regressor.network.state_dict(), {"pose_regressor": json.dumps(facts)}))


def load_regressor(path: Path) -> PoseRegressor:
    """Read a regressor. Raises UnreadableFile: it is none, or is damaged."""
    network = PoseNetwork()
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["pose_regressor"])
        network.load_state_dict(load_file(path))
        facts["held_out"] = PoseErrors(**facts["held_out"])
        return PoseRegressor(network.eval().requires_grad_(False), **facts)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnreadableFile(f"{path} is no pose regressor, or is damaged ({error}).") from error


@dataclass(frozen=True)
class Turning:
    """Generated images measured by a regressor: do they turn as requested?"""

    errors: PoseErrors  # of measured against requested poses
    slope: float  # measured degrees for a requested degree of azimuth
    correlation: float  # of requested and measured azimuths


def turning(measured: Tensor, asked: Tensor) -> Turning:
    """Compare measured with requested angles, both [n, 2]. Slope and correlation take a measured azimuth as the one
    within ± 180° of the requested one."""
    x = asked[:, 0] - asked[:, 0].mean()
    y = asked[:, 0] + wrapped(measured[:, 0] - asked[:, 0])
    y = y - y.mean()
    slope = float((x * y).sum() / x.square().sum())
    return Turning(pose_errors(measured, asked), slope, float((x * y).sum() / (x.norm() * y.norm())))
