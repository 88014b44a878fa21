"""Images of any generator at the poses of a data set, through `Generator` and `Scene` alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from addon.wire.messages import ModelInfo

from ...cameras import Camera, from_wire, orbit
from ...nerf.consistency import over_white
from ...progress import Progress, silent
from ...scenes.generator import Generator
from ...scenes.protocol import Image, Scene
from .pose_regressor import angles_of, wrapped

TOLERANCE = math.radians(1.0)
"""How far a pose may lie outside a model's range and still be asked of it."""


@dataclass(frozen=True)
class Poses:
    """Cameras around an object at the origin, in the unit of a data set."""

    world_from_camera: Tensor  # [n, 4, 4], OpenCV axes, Z up
    intrinsics: Tensor  # [n, 3, 3], in units of the image's side

    def __len__(self) -> int:
        return len(self.world_from_camera)

    def at(self, index: Tensor) -> Poses:
        """Return some of them."""
        return Poses(self.world_from_camera[index], self.intrinsics[index])

    @property
    def angles(self) -> Tensor:
        """Azimuth and elevation [n, 2], radians."""
        return angles_of(self.world_from_camera)


def in_range(info: ModelInfo, angles: Tensor) -> Tensor:
    """Return which azimuths and elevations [n, 2] lie within the range that a model was trained on [n]."""
    low, high = info.pose_prior.azimuth
    below, above = info.pose_prior.elevation
    offset = wrapped(angles[:, 0] - (low + high) / 2).abs()
    inside = offset <= (high - low) / 2 + TOLERANCE
    return inside & (angles[:, 1] >= below - TOLERANCE) & (angles[:, 1] <= above + TOLERANCE)


def cameras_of(info: ModelInfo, poses: Poses, size: int, index: Tensor | None = None) -> list[Camera]:
    """Return a data set's cameras, or some of them, in the world of a model, for images of size × size.

    The directions are those of the data. Distance and focal length relative to the model's own are those relative to
    the median of the data, so a model of another unit or lens still shows its object at the data's size.
    """
    radius, focal = poses.world_from_camera[:, :3, 3].norm(dim=-1), poses.intrinsics[:, 1, 1]
    center = torch.tensor([(a + b) / 2 for a, b in zip(*info.bounds, strict=True)])
    scale = info.pose_prior.radius / radius.median()
    zoom = 1 / (2 * math.tan(info.pose_prior.fov / 2)) / focal.median()
    cameras = []
    chosen = poses if index is None else poses.at(index)
    for matrix, intrinsics in zip(chosen.world_from_camera.float(), chosen.intrinsics.float(), strict=True):
        world = matrix.clone()
        world[:3, 3] = world[:3, 3] * scale + center
        pixels = intrinsics.clone()
        pixels[:2, :2] *= zoom
        pixels[:2] *= size
        cameras.append(Camera(world, pixels, size, size))
    return cameras


def prior_poses(info: ModelInfo, count: int, seed: int = 0) -> Poses:
    """Draw poses uniformly over the part of the sphere that a model was trained on, in the model's own world."""
    random = torch.Generator().manual_seed(seed)
    low, high = info.pose_prior.azimuth
    below, above = (math.sin(angle) for angle in info.pose_prior.elevation)
    u, v = torch.rand(2, count, generator=random)
    center = torch.tensor([(a + b) / 2 for a, b in zip(*info.bounds, strict=True)])
    matrices, intrinsics = [], []
    for azimuth, sine in zip((low + (high - low) * u).tolist(), (below + (above - below) * v).tolist(), strict=True):
        camera = from_wire(orbit(info, 1, azimuth=azimuth, elevation=math.asin(sine)))
        camera.world_from_camera[:3, 3] -= center
        matrices.append(camera.world_from_camera)
        intrinsics.append(camera.intrinsics)
    return Poses(torch.stack(matrices), torch.stack(intrinsics))


@torch.no_grad()
def scene_of(generator: Generator, seed: int) -> Scene:
    """Return the scene of a seed, without truncation."""
    return generator.synthesize(generator.mapping(generator.sample_z(seed))[0])


@torch.no_grad()
def generate(
    generator: Generator,
    cameras: Sequence[Camera],
    seeds: Sequence[int],
    *,
    white: bool = True,
    progress: Progress = silent,
) -> Tensor:
    """Return images [n, 3, size, size] uint8, of one seed for each camera, over white or black."""
    found = []
    for number, (seed, camera) in enumerate(zip(seeds, cameras, strict=True)):
        progress(number / len(cameras), f"Image {number + 1} of {len(cameras)}")
        image = scene_of(generator, seed).render(camera.to(generator.device))
        found.append(flat(image, white=white))
    return torch.stack(found)


def flat(image: Image, *, white: bool = True) -> Tensor:
    """Return a render [3, H, W] uint8 over white or black."""
    colors = over_white(image) if white else image.rgb * image.alpha[..., None]
    return (colors.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(2, 0, 1).cpu()


def like_poses(
    angles: Tensor, objects: Tensor | None, within: float = math.radians(20.0), at_most: int = 4000
) -> Tensor:
    """Return pairs [p, 2] of images of different objects from like directions.

    angles: azimuth and elevation [n, 2], radians. objects: [n], which object an image shows; None: all differ.
    within: greatest angle between the directions.
    """
    azimuth, elevation = angles.unbind(-1)
    toward = torch.stack((azimuth.cos() * elevation.cos(), azimuth.sin() * elevation.cos(), elevation.sin()), -1)
    near = (toward @ toward.T > math.cos(within)).triu(1)
    if objects is not None:
        near &= objects[:, None] != objects
    pairs = near.nonzero()
    return pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))[:at_most]]
