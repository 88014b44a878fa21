"""Derivatives by autograd against central differences, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from backend.cameras import Camera
from backend.rendering.compositing import unpremultiply
from backend.scenes.generator import Generator
from backend.scenes.protocol import Image, Scene
from backend.scenes.trace import RayColors


def check_gradients(
    loss: Callable[[], Tensor], variables: dict[str, Tensor], *, rel: float, step: float = 1e-6, directions: int = 2
) -> None:
    """Compare directional derivatives of a scalar with respect to each of its variables along random directions.

    variables: leaves in float64 that require gradients; they are moved in place. No derivative may be zero.
    """
    random = torch.Generator().manual_seed(3)
    gradients = torch.autograd.grad(loss(), list(variables.values()))
    for (name, variable), gradient in zip(variables.items(), gradients, strict=True):
        for _ in range(directions):
            along = torch.randn(variable.shape, generator=random, dtype=variable.dtype)
            ends = []
            for distance in (step, -2 * step):
                with torch.no_grad():
                    variable.add_(distance * along)
                ends.append(float(loss().detach()))
            with torch.no_grad():
                variable.add_(step * along)
            numeric = (ends[0] - ends[1]) / (2 * step)
            assert numeric != 0, f"{name} has no influence"
            assert float((gradient * along).sum()) == pytest.approx(numeric, rel=rel), name


def check_scene_gradients(
    generator: Generator,
    ws: Tensor,
    camera: Camera,
    weight: nn.Parameter,
    pixels: Callable[[Scene, Camera], RayColors],
    *,
    rel: float,
    step: float = 1e-6,
    controls: dict[str, float] | None = None,
) -> None:
    """Check the derivatives of a scene's pixels with respect to ws, the pose of the camera and a weight.

    generator: in float64.
    """
    ws = ws.detach().double().requires_grad_(True)
    twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    weight.requires_grad_(True)

    def loss() -> Tensor:
        return weighted_sum(pixels(generator.synthesize(ws, controls, differentiable=True), moved_by(camera, twist)))

    check_gradients(loss, {"ws": ws, "camera": twist, "weight": weight}, rel=rel, step=step)


def moved_by(camera: Camera, twist: Tensor) -> Camera:
    """Return the camera turned (the first three numbers, radians) and moved (the last three, metres). twist: [6]."""
    zero = torch.zeros_like(twist[0])
    x, y, z = twist[:3]
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    matrix = camera.world_from_camera.to(twist)
    pose = torch.cat([torch.linalg.matrix_exp(skew) @ matrix[:3, :3], (matrix[:3, 3] + twist[3:])[:, None]], -1)
    return Camera(
        torch.cat([pose, matrix[3:]]), camera.intrinsics.to(twist), camera.width, camera.height, camera.projection
    )


def weighted_sum(pixels: RayColors) -> Tensor:
    """Return the sum of colours, alphas and finite distances, each with a random weight that is always the same."""
    random = torch.Generator().manual_seed(5)
    parts = [pixels.rgb, pixels.alpha, torch.where(pixels.distance.isfinite(), pixels.distance, 0.0)]
    if pixels.normal is not None:
        parts.append(pixels.normal)
    total = pixels.alpha.new_zeros(())
    for part in parts:
        total = total + (part * torch.rand(part.shape, generator=random, dtype=torch.float64).to(part)).sum()
    return total


def agreement(pixels: RayColors, image: Image) -> float:
    """Return the PSNR of differentiable pixels against what `render` shows, over white, dB.

    Colours beyond 0..1, which a 2D network may make, are clamped as `render` clamps them.
    """
    straight = unpremultiply(pixels.rgb, pixels.alpha).clamp(0, 1)
    got = straight * pixels.alpha[..., None] + 1 - pixels.alpha[..., None]
    shown = (image.rgb * image.alpha[..., None] + 1 - image.alpha[..., None]).to(got)
    return -10 * math.log10(max((got - shown).detach().square().mean().item(), 1e-20))
