"""Cameras of pictures are moved to where the scene is, whatever the pictures are like."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.cameras import Camera, intrinsics_from_fov, look_at
from backend.nerf.cameras.alignment import aligned, at_pose, moved, photometric_error, relocalize
from backend.nerf.cameras.poses import motion_of_all, perturbed, rotation_angle
from backend.nerf.datasets import Lens, Pixels, View
from backend.scenes.protocol import FieldInfo, Image

CPU = torch.device("cpu")
SIZE, DISTANCE = 80, 2.0
CENTRES = torch.randn(14, 3, generator=torch.Generator().manual_seed(5)) * 0.3
COLORS = torch.rand(14, 3, generator=torch.Generator().manual_seed(6))


class Blobs:  # what alignment needs of a Scene
    """A scene with a closed form: each blob covers a ray by how near it passes."""

    info = FieldInfo("density", 1.0, ((-0.6, -0.6, -0.6), (0.6, 0.6, 0.6)))

    def render(self, camera: Camera, **_: Any) -> Image:
        rays = camera.rays()
        to = CENTRES - rays.origins[..., None, :]
        along = (to * rays.directions[..., None, :]).sum(-1, keepdim=True)
        near = (to - along * rays.directions[..., None, :]).square().sum(-1)
        weights = torch.exp(-near / (2 * 0.12**2))
        alpha = 1 - torch.exp(-2 * weights.sum(-1))
        rgb = (weights[..., None] * COLORS).sum(-2) / weights.sum(-1, keepdim=True).clamp(min=1e-6)
        return Image(rgb, alpha, torch.ones_like(alpha), torch.zeros_like(rgb))


BLOBS: Any = Blobs()


def view_and_picture(kind: str) -> tuple[View, Pixels]:
    pose = torch.tensor(look_at((1.2, -1.4, 0.8), (0.0, 0.0, 0.0))).float()
    camera = Camera(pose, torch.tensor(intrinsics_from_fov(0.7, SIZE, SIZE)), SIZE, SIZE)
    lens = Lens("opencv", k=(-0.1, 0.02, 0.0, 0.0)) if kind == "lens" else Lens()
    view = View("a.png", replace(camera, lens=lens), Path("a.png"))
    image = BLOBS.render(view.camera)

    def to_bytes(values: Tensor) -> np.ndarray:
        return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()

    if kind == "opaque":
        return view, Pixels(to_bytes(image.rgb * image.alpha[..., None] + 0.5 * (1 - image.alpha[..., None])))
    rgb, alpha, mask = to_bytes(image.rgb), to_bytes(image.alpha), None
    if kind == "masked":
        mask = np.ones((SIZE, SIZE), bool)
        mask[20:45, 30:70] = False
        rgb, alpha = np.where(mask[..., None], rgb, 0).astype(np.uint8), np.where(mask, alpha, 255).astype(np.uint8)
    return view, Pixels(rgb, alpha, mask)


@pytest.mark.parametrize("kind", ["alpha", "opaque", "masked", "lens"])
def test_a_camera_that_is_off_by_some_degrees_finds_back(kind: str) -> None:
    view, pixels = view_and_picture(kind)
    truth = view.camera.world_from_camera
    start = at_pose(view, perturbed(truth[None], math.radians(3), 0.05 * DISTANCE, seed=2)[0])
    found = aligned(BLOBS, start, pixels, CPU, background=0.5).camera.world_from_camera
    assert rotation_angle(found[:3, :3].T @ truth[:3, :3]) < math.radians(0.05)
    assert (found[:3, 3] - truth[:3, 3]).norm() < 0.001 * DISTANCE


@pytest.mark.parametrize("kind", ["alpha", "opaque", "lens"])
def test_a_camera_that_is_lost_is_found_again(kind: str) -> None:
    view, pixels = view_and_picture(kind)
    truth = view.camera.world_from_camera
    start = at_pose(view, perturbed(truth[None], math.radians(18), 0.3 * DISTANCE, seed=2)[0])
    alone = aligned(BLOBS, start, pixels, CPU, background=0.5)
    found = relocalize(BLOBS, start, pixels, CPU, spread=0.3, background=0.5)
    assert rotation_angle(alone.camera.world_from_camera[:3, :3].T @ truth[:3, :3]) > math.radians(18)
    assert rotation_angle(found.camera.world_from_camera[:3, :3].T @ truth[:3, :3]) < math.radians(0.05)
    far, near = (photometric_error(BLOBS, there, pixels, CPU, background=0.5) for there in (start, found))
    assert near < 0.1 * far


def test_a_picture_with_nothing_usable_leaves_its_camera_where_it_is() -> None:
    view, pixels = view_and_picture("alpha")
    nothing = Pixels(pixels.rgb, pixels.alpha, np.zeros((SIZE, SIZE), bool))
    for there in (aligned(BLOBS, view, nothing, CPU), relocalize(BLOBS, view, nothing, CPU, spread=0.1)):
        assert torch.equal(there.camera.world_from_camera, view.camera.world_from_camera)
    assert math.isnan(photometric_error(BLOBS, view, nothing, CPU))


def test_views_held_back_go_with_those_of_the_fit() -> None:
    eyes = [(1.0, 0.2, 0.5), (0.1, 1.3, 0.4), (-1.0, 0.1, 0.9), (0.3, -1.2, 0.1)]
    before = torch.stack([torch.tensor(look_at(eye, (0.0, 0.0, 0.0))).float() for eye in eyes])
    turn = perturbed(torch.eye(4)[None], 0.4, 0.7)[0]
    view, _ = view_and_picture("alpha")
    found = moved([view], motion_of_all(before, turn @ before))[0].camera.world_from_camera
    torch.testing.assert_close(found, turn @ view.camera.world_from_camera, rtol=0, atol=1e-5)
