"""Differentiable rendering of a hash field: gradients against central differences, and pixels against `render`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backend.cameras import Camera, Rays
from backend.kernels.hash_encoding import HashSpec
from backend.nerf.evaluate import psnr
from backend.nerf.hash.field import HashField, HashFieldConfig
from backend.nerf.hash.scene import HashScene
from backend.scenes.trace import RayColors

EPSILON = 1e-6


def scene(dtype: torch.dtype = torch.float64, scale: float = 0.3, **options: bool) -> HashScene:
    """A cloud of noise over the cube ±1, thin enough that no sample is occluded at scale 0.3."""
    config = HashFieldConfig((-1.0, -1.0, -1.0), 2.0, HashSpec(4, 2, 10, 4, 32), 16, 1 / 32, **options)
    random = torch.Generator().manual_seed(0)
    table = scale * torch.randn(config.table.num_entries, config.table.num_features, generator=random)
    networks = config.networks.initial(random)
    occupied = torch.ones(16, 16, 16, dtype=torch.bool)
    return HashScene(HashField(config, table.to(dtype), networks.to(dtype), occupied))


def rays(dtype: torch.dtype = torch.float64) -> Rays:
    """Rays from inside the box, whose samples start at themselves wherever they are moved."""
    random = torch.Generator().manual_seed(1)
    origins = torch.rand(12, 3, generator=random, dtype=torch.float64) - 0.5
    directions = torch.nn.functional.normalize(torch.randn(12, 3, generator=random, dtype=torch.float64), dim=-1)
    return Rays(origins.to(dtype), directions.to(dtype), torch.ones(12, dtype=dtype))


def loss_of(colors: RayColors) -> Tensor:
    """A loss of everything that a ray returns, with a weight of its own for each number."""
    values = torch.cat((colors.rgb, colors.alpha[:, None], colors.distance.nan_to_num(posinf=0.0)[:, None]), -1)
    weights = torch.rand(values.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5
    return (values * weights.to(values)).sum()


def assert_differentiable(value: Callable[[], Tensor], variable: Tensor) -> None:
    """The gradient along a random direction is the central difference there."""
    direction = torch.randn(variable.shape, generator=torch.Generator().manual_seed(3), dtype=variable.dtype)
    (gradient,) = torch.autograd.grad(value(), variable)
    with torch.no_grad():
        variable += EPSILON * direction
        above = value()
        variable -= 2 * EPSILON * direction
        below = value()
        variable += EPSILON * direction
    expected = float((above - below) / (2 * EPSILON))
    assert abs(expected) > 1e-4
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("options", [{}, {"linear": True}, {"unbounded": True, "sky": True}])
def test_gradients_of_table_and_networks_are_central_differences(options: dict[str, bool]) -> None:
    made, seen = scene(**options), rays()
    for parameter in made.parameters_for("all"):
        parameter.requires_grad_()
        assert_differentiable(lambda: loss_of(made.trace(seen)), parameter)


def test_gradients_of_rays_are_central_differences() -> None:
    made, seen = scene(), rays()
    for variable in (seen.origins, seen.directions):
        assert_differentiable(lambda: loss_of(made.trace(seen)), variable.requires_grad_())


def test_the_fast_engine_has_the_gradients_of_the_reference() -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        made, seen = scene(dtype), rays(dtype)
        variables = [seen.origins, seen.directions, *made.parameters_for("all")]
        for variable in variables:
            variable.requires_grad_()
        loss = loss_of(made.trace(seen))
        found.append([loss.detach(), *torch.autograd.grad(loss, variables)])
    for fast, reference in zip(*found, strict=True):
        assert float((fast - reference).norm() / reference.norm()) < 1e-3


@pytest.mark.parametrize("options", [{}, {"linear": True}, {"unbounded": True, "sky": True}])
def test_trace_shows_what_render_shows(options: dict[str, bool]) -> None:
    made = scene(torch.float32, 1.0, **options)
    pose = torch.tensor([[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 4], [0, 0, 0, 1]])
    camera = Camera(pose, torch.tensor([[40.0, 0, 12], [0, 40, 12], [0, 0, 1]]), 24, 24)
    image, traced = made.render(camera), made.image(camera)
    assert traced.rgb.shape == (24, 24, 3) and traced.alpha.shape == traced.distance.shape == (24, 24)
    assert psnr(traced.rgb, image.rgb * image.alpha[..., None]) > made.info.trace_psnr
    assert psnr(traced.alpha, image.alpha) > made.info.trace_psnr
    hit = image.alpha > 0.9
    depth = traced.mean_distance() * camera.rays().depth_from_distance
    at = hit & image.depth.isfinite() & depth.isfinite()
    assert at.any() and float((depth - image.depth)[at].abs().max()) < 0.02


def test_more_samples_and_jitter_change_pixels_little() -> None:
    made, seen = scene(torch.float32), rays(torch.float32)
    usual = made.trace(seen)
    assert torch.equal(usual.rgb, made.trace(seen).rgb)
    for other in (made.trace(seen, samples=64), made.trace(seen, jitter=torch.Generator().manual_seed(0))):
        assert 0 < float((other.rgb - usual.rgb).abs().max()) < 0.05


def test_parts_of_the_parameters_share_the_memory_of_the_field() -> None:
    made, seen = scene(torch.float32), rays(torch.float32)
    field = made.hash_field
    sizes = {part: sum(p.numel() for p in made.parameters_for(part)) for part in ("geometry", "appearance", "all")}
    assert sizes["geometry"] + sizes["appearance"] == sizes["all"] == field.table.numel() + field.networks.numel()
    before, density = made.trace(seen), made.field(torch.zeros(1, 3)).value
    with torch.no_grad():
        for parameter in made.parameters_for("appearance"):
            parameter.mul_(1.5)
    after = made.trace(seen)
    assert torch.equal(before.alpha, after.alpha) and not torch.equal(before.rgb, after.rgb)
    assert torch.equal(density, made.field(torch.zeros(1, 3)).value)
    late = made.parameters_for("late layers")
    assert {id(p) for p in late} < {id(p) for p in made.parameters_for("appearance")}
