"""A family of chairs made of boxes, rendered by ray casting: images, poses, objects and meshes in a second or two."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from addon.wire.messages import ModelInfo, PosePrior
from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.scenes.protocol import FieldInfo, FieldSample, Image
from backend.training.data.training_images import TrainingImages

RADIUS, FOV = 3.8, math.radians(30.0)
PRIOR = PosePrior(RADIUS, FOV, elevation=(math.radians(-10), math.radians(45)))
Array = NDArray[np.float32]


def chair(seed: int) -> tuple[Array, Array]:
    """Return boxes [k, 2, 3] (lower and upper corners) and colours [k, 3] of a chair whose back is at +Y."""
    random = np.random.default_rng(seed)
    w, d, seat, back = random.uniform((0.3, 0.3, -0.2, 0.3), (0.5, 0.5, 0.1, 0.7))
    leg, thick = random.uniform((0.04, 0.04), (0.1, 0.12))
    boxes = [((-w, -d, seat - thick), (w, d, seat)), ((-w, d - thick, seat), (w, d, back))]
    boxes += [
        ((x - leg, y - leg, -0.7), (x + leg, y + leg, seat)) for x in (leg - w, w - leg) for y in (leg - d, d - leg)
    ]
    legs, cloth = random.uniform(0.1, 0.9, (2, 3))
    return np.array(boxes, np.float32), np.array([cloth, cloth * 0.8, *[legs] * 4], np.float32)


def cast(boxes: Array, colors: Array, camera: Camera) -> tuple[Array, Array]:
    """Return an image [H, W, 3] in 0..1, over white, and its depth [H, W]: the nearest face, darker on the sides."""
    rays = camera.rays()
    origin, direction = rays.origins.numpy()[0, 0], rays.directions.numpy()
    with np.errstate(divide="ignore"):
        planes = (boxes[:, :, None, None] - origin) / direction  # [k, 2, H, W, 3]
    near, far = planes.min(1), planes.max(1)
    enter = near.max(-1)
    enter = np.where(enter < far.min(-1), enter, np.inf)
    first = enter.argmin(0)
    axis = np.take_along_axis(near.argmax(-1), first[None], 0)[0]
    shaded = colors[first] * np.array([0.7, 0.85, 1.0], np.float32)[axis, None]
    depth = enter.min(0) * rays.depth_from_distance.numpy()
    return np.where(np.isfinite(depth)[..., None], shaded, 1.0).astype(np.float32), depth.astype(np.float32)


def camera(azimuth: float, elevation: float, side: int) -> Camera:
    level = RADIUS * math.cos(elevation)
    eye = (level * math.sin(azimuth), -level * math.cos(azimuth), RADIUS * math.sin(elevation))
    pose, intrinsics = look_at(eye, (0.0, 0.0, 0.0)), intrinsics_from_fov(FOV, side, side)
    return Camera(torch.tensor(pose), torch.tensor(intrinsics), side, side)


def box_chairs(objects: int, views: int = 4, side: int = 32, first: int = 0) -> TrainingImages:
    """Return views of chairs from all around, elevation -10° to 45°."""
    images, poses, kinds = [], [], []
    random = np.random.default_rng(first)
    for number in range(first, first + objects):
        for view in range(views):
            azimuth = (view + random.random()) / views * 2 * math.pi
            at = camera(azimuth, random.uniform(math.radians(-10), math.radians(45)), side)
            images.append(cast(*chair(number), at)[0])
            poses.append(at.world_from_camera)
            kinds.append(number)
    pixels = torch.from_numpy((np.stack(images) * 255 + 0.5).astype(np.uint8)).permute(0, 3, 1, 2).contiguous()
    lens = torch.tensor(intrinsics_from_fov(FOV, 1, 1)).expand(len(pixels), 3, 3)
    return TrainingImages(pixels, PRIOR, torch.stack(poses), lens, torch.tensor(kinds))


def chair_mesh(seed: int) -> trimesh.Trimesh:
    """Return a chair's boxes as one mesh."""
    boxes, _ = chair(seed)
    parts = [trimesh.creation.box(bounds=box) for box in boxes]
    return trimesh.util.concatenate(parts)


# ---- the family as a generator

METRES = 0.5
"""Of the generator's world for one unit of the data: judging must not mind."""
BOUNDS = tuple(tuple(METRES * x for x in corner) for corner in ((-0.9, -0.9, -1.0), (0.9, 0.9, 1.0)))
INFO = ModelInfo(
    name="boxes", label="Boxes", kind="boxes", description="", licence="", non_commercial=False, card="", z_dim=1,
    num_ws=1, w_dim=1, num_geometry_ws=1, num_parameters=0, has_truncation=False, has_surface=True,
    no_surface_reason="", has_color=True, quantity="sdf", iso_level=0.0, iso_range=(-1.0, 1.0),
    bounds=BOUNDS,  # type: ignore[arg-type]
    pose_prior=replace(PRIOR, radius=METRES * RADIUS), image_size=32,
)  # fmt: skip


@dataclass(frozen=True)
class BoxScene:
    """One chair in metres; `turned` radians about the vertical, and its images changed by `worse`."""

    seed: int
    turned: float
    worse: Callable[[Tensor], Tensor]

    @property
    def info(self) -> FieldInfo:
        return FieldInfo("sdf", 0.0, BOUNDS, lipschitz=1.0)  # type: ignore[arg-type]

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        boxes = torch.from_numpy(chair(self.seed)[0]) * METRES
        outside = torch.maximum(boxes[:, 0] - points[..., None, :], points[..., None, :] - boxes[:, 1])
        return FieldSample((outside.clamp(min=0).norm(dim=-1) + outside.amax(-1).clamp(max=0)).amin(-1))

    def render(self, camera: Camera, **_: Any) -> Image:
        c, s = math.cos(self.turned), math.sin(self.turned)
        turn = torch.tensor([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
        seen_from = camera.transformed(turn)
        seen_from.world_from_camera[:3, 3] /= METRES
        rgb, depth = (torch.from_numpy(x) for x in cast(*chair(self.seed), seen_from))
        return Image(self.worse(rgb), depth.isfinite().float(), depth * METRES)


@dataclass(frozen=True)
class BoxGenerator:
    """A generator whose chairs are those of the data set: perfect, unless `seeds` and `worse` say otherwise."""

    seed_of: Callable[[int], int] = lambda seed: 10_000 + seed
    turned: float = 0.0
    worse: Callable[[Tensor], Tensor] = lambda image: image
    info: ModelInfo = INFO
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def flat(self) -> BoxGenerator:
        """Return the same without a surface."""
        return replace(self, info=replace(self.info, has_surface=False, no_surface_reason="flat"))

    def sample_z(self, seed: int) -> Tensor:
        return torch.tensor([[float(seed)]])

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        return z[:, None]

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> BoxScene:
        return BoxScene(self.seed_of(int(ws[0, 0])), self.turned, self.worse)
