"""Fits of pictures without alpha: an object before a plain colour, and one with surroundings that go on for ever."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from addon.wire.messages import FitOptions
from backend.bench.ray_traced import RayTracedDataset, ray_traced
from backend.nerf.cameras.alignment import aligned
from backend.nerf.datasets import Dataset, Pixels, View
from backend.nerf.evaluate import evaluate
from backend.nerf.hash.field import Encode, HashField, at_infinity
from backend.nerf.hash.presets import Training
from backend.nerf.hash.scene import HashScene, scene_from_tensors
from backend.nerf.hash.trainer import HashTrainer
from backend.scenes.cropped import cropped

CPU = torch.device("cpu")
SMALL = Training(
    network_rate=1e-2, log2_size=13, num_levels=6, finest=128, samples_per_step=1 << 12, grid=64, warm_up=60
)
SIZE = 48


def surroundings(directions: np.ndarray) -> np.ndarray:
    """sRGB 0..1 [..., 3] at infinity along unit directions: broad stripes of other colours on each side."""
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack((0.5 + 0.4 * np.sin(5 * x + 1), 0.5 + 0.4 * np.sin(4 * y - 2 * z), 0.5 + 0.3 * z), -1)


@dataclasses.dataclass(frozen=True)
class Opaque(RayTracedDataset):
    """The ray-traced scene without alpha, over a colour [H, W, 3] or [3] for each view, all of it times a gain."""

    color: Callable[[View], np.ndarray] = lambda view: np.ones(3)
    gain: Callable[[View], float] = lambda view: 1.0

    def load(self, view: View) -> Pixels:
        pixels = super().load(view)
        assert pixels.alpha is not None
        alpha = pixels.alpha[..., None] / 255
        rgb = pixels.rgb / 255 * alpha + self.color(view) * (1 - alpha)
        return dataclasses.replace(pixels, rgb=(rgb * self.gain(view) * 255 + 0.5).astype(np.uint8), alpha=None)


def before(color: Callable[[View], np.ndarray]) -> Opaque:
    known = ray_traced(SIZE)
    return Opaque(known.folder, known.format, known.views, color=color)


def far_away(view: View) -> np.ndarray:
    return surroundings(view.camera.rays().directions.numpy())


@pytest.fixture(scope="module")
def outdoors() -> Opaque:
    return before(far_away)


def fit(dataset: Dataset, steps: int, **options: object) -> HashTrainer:
    made = HashTrainer(dataset, FitOptions(steps=steps, **options), CPU, training=SMALL)  # type: ignore[arg-type]
    for _ in range(steps):
        made.advance()
    return made


def psnr(made: HashTrainer, dataset: Dataset) -> float:
    behind = made.background
    found = evaluate(made.scene(), dataset, dataset.split("test"), CPU, background_color=behind).psnr
    assert found is not None
    return found


@pytest.fixture(scope="module")
def fitted(outdoors: Opaque) -> HashTrainer:
    return fit(outdoors, 400)


def test_surroundings_without_end_are_fitted_with_the_object(fitted: HashTrainer, outdoors: Opaque) -> None:
    assert fitted.field.config.unbounded and fitted.field.config.sky
    assert psnr(fitted, outdoors) > 19.0
    assert fitted.occupancy.occupied_fraction < 0.25, "the space between was found to be empty"


def test_what_nothing_stops_is_the_sky_at_an_infinite_distance(fitted: HashTrainer, outdoors: Opaque) -> None:
    view = outdoors.split("test")[0]
    empty = torch.from_numpy(np.asarray(ray_traced(SIZE).load(ray_traced(SIZE).split("test")[0]).alpha) == 0)
    image = fitted.scene().render(view.camera)
    assert bool((image.alpha == 1).all())
    assert image.depth[empty].isinf().float().mean() > 0.9 and image.depth[~empty].isfinite().float().mean() > 0.9
    directions = view.camera.rays().directions[empty]
    error = fitted.field.sky(directions) - torch.from_numpy(surroundings(directions.numpy())).float()
    assert float(error.square().mean().sqrt()) < 0.1


def test_a_crop_leaves_the_sky_out(fitted: HashTrainer, outdoors: Opaque) -> None:
    view = outdoors.split("test")[0]
    low, high = fitted.scene().info.bounds
    middle = [(a + b) / 2 for a, b in zip(low, high)]
    box = (low, (high[0], high[1], middle[2]))
    image = cropped(fitted.scene(), box).render(view.camera)
    assert image.alpha[0].max() < 0.05 and image.alpha.max() > 0.9


def test_a_scene_without_end_is_the_same_from_its_tensors(fitted: HashTrainer, outdoors: Opaque) -> None:
    scene, camera = fitted.scene(), outdoors.split("test")[1].camera
    kind, config, tensors = scene.tensors()
    again = scene_from_tensors(config, tensors, CPU).render(camera)
    assert kind == "hash_field" and torch.equal(again.rgb, scene.render(camera).rgb)
    del config["sky"]
    with pytest.raises(ValueError, match="fit the images again"):
        scene_from_tensors(config, tensors, CPU)


def test_a_fit_with_surroundings_goes_on_as_the_one_that_never_stopped(outdoors: Opaque) -> None:
    whole = fit(outdoors, 90)
    first = HashTrainer(outdoors, FitOptions(steps=90), CPU, training=SMALL)
    for _ in range(70):
        first.advance()
    saved = {name: tensor.clone() for name, tensor in first.tensors().items()}
    second = HashTrainer(outdoors, FitOptions(steps=90), CPU, training=SMALL)
    second.restore(saved)
    for _ in range(20):
        second.advance()
    assert torch.equal(whole.field.table, second.field.table)


def test_density_beyond_the_box_is_that_along_a_ray(fitted: HashTrainer) -> None:
    """Light that passes through a stretch of far space is exp(−∫ density), with density per metre as `field` says."""
    known = fitted.field
    everywhere = torch.ones_like(known.occupancy.occupied)
    model = HashField(known.config, known.table, known.networks, everywhere)
    low, side = torch.tensor(model.config.low), model.config.side
    origin, direction = torch.tensor([0.5, 0.5, 3.0]), torch.tensor([0.6, 0.0, 0.8])
    t = torch.linspace(0.0, 2.0, 20001)
    points = low + side * (origin + direction * t[:, None])
    with torch.no_grad():
        thick = float(torch.trapezoid(HashScene(model).value(points), t * side))
        samples = model.march(origin[None], direction[None], step=1e-4)
        near = samples.t < 2.0
        summed = float((model.density(samples.points) * samples.lengths)[near].sum())
    assert summed == pytest.approx(thick, rel=0.02)


def test_directions_lead_to_the_faces_of_the_cube() -> None:
    directions = torch.nn.functional.normalize(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    from backend.kernels.ray_marching import contract

    torch.testing.assert_close(at_infinity(directions), contract(0.5 + directions * 1e5), rtol=0, atol=1e-4)


def test_far_surroundings_turn_the_cameras(outdoors: Opaque) -> None:
    """The sky's points are among those that cameras follow; they depend on a camera's turn and not on its place."""
    made = HashTrainer(outdoors, FitOptions(steps=50, refine_poses=True), CPU, training=SMALL)
    moved: list[float] = []
    of_field = made.field.sky

    def sky(directions: Tensor, *, encode: Encode, networks: Tensor) -> Tensor:
        def watched(points: Tensor, features: Tensor | None) -> Tensor:
            faces = (points.detach() - 0.5).abs().amax(-1)
            torch.testing.assert_close(faces, torch.full((len(points),), 0.5))
            points.register_hook(lambda gradient: moved.append(float(gradient.abs().sum())))
            return encode(points, features)

        return of_field(directions, encode=watched, networks=networks)

    made.field.sky = sky  # type: ignore[method-assign, assignment]
    for _ in range(20):
        made.advance()
    assert len(moved) == 20 and moved[-1] > 0
    turn = torch.zeros(3, requires_grad=True)
    directions = torch.linalg.cross(turn.expand(4, 3), torch.eye(3)[[0, 1, 2, 0]]) + torch.eye(3)[[0, 1, 2, 0]] + 0.1
    at_infinity(directions).square().sum().backward()
    assert turn.grad is not None and turn.grad.abs().sum() > 0


def test_what_each_camera_did_to_its_colors_stays_out_of_the_sky() -> None:
    uneven = dataclasses.replace(
        before(far_away), gain=lambda view: 0.3 if view.split == "train" and view.appearance % 2 else 1.0
    )
    steps, view = 200, uneven.split("test")[0]
    truth = far_away(view)

    def missed(made: HashTrainer) -> float:
        """How uneven the sky's brightness is, against the truth."""
        directions = view.camera.rays().directions.reshape(-1, 3)
        ratio = made.field.sky(directions).mean(-1) / torch.from_numpy(truth.reshape(-1, 3).mean(-1))
        return float(ratio.std() / ratio.mean())

    assert missed(fit(uneven, steps, appearance="exposure")) < 0.7 * missed(fit(uneven, steps))


@pytest.mark.parametrize("color", [(1.0, 1.0, 1.0), (0.4, 0.55, 0.5)], ids=["white", "green"])
def test_an_object_before_a_plain_colour_is_fitted_alone(color: tuple[float, float, float]) -> None:
    plain = before(lambda view: np.array(color))
    made = fit(plain, 600)  # what is of one colour with the backdrop becomes opaque late
    assert not made.field.config.unbounded and made.background == ("white" if color[0] == 1 else "#668c80")
    assert psnr(made, plain) > 20.0
    view = plain.split("test")[0]
    alpha = ray_traced(SIZE).load(ray_traced(SIZE).split("test")[0]).alpha
    assert alpha is not None
    seen = made.scene().render(view.camera).alpha
    assert seen[torch.from_numpy(alpha == 0)].mean() < 0.12, "what is behind the object is not in the field"
    assert seen[torch.from_numpy(alpha == 255)].mean() > 0.85


def test_with_nothing_but_sky_the_sky_is_learnt(outdoors: Opaque) -> None:
    made = HashTrainer(outdoors, FitOptions(steps=20, near=1e3), CPU, training=SMALL)
    before_it = made.field.table.clone()
    losses = [made.advance().loss for _ in range(20)]
    assert not made.occupancy.possible.any() and losses[-1] < 0.8 * losses[0]
    assert not torch.equal(made.field.table, before_it)


def test_alpha_that_says_nothing_leaves_cameras_where_they_fit() -> None:
    """A picture saved with alpha, opaque everywhere, is aligned as the same without."""
    plain = before(lambda view: np.array((1.0, 1.0, 1.0)))
    scene, view = fit(plain, 150).scene(), plain.split("test")[0]
    pixels = plain.load(view)
    opaque = dataclasses.replace(pixels, alpha=np.full(pixels.rgb.shape[:2], 255, np.uint8))
    assert not opaque.has_alpha
    behind = np.ones(3, np.float32)
    expected, got = (aligned(scene, view, seen, CPU, background=behind).camera for seen in (pixels, opaque))
    torch.testing.assert_close(got.world_from_camera, expected.world_from_camera)


def test_a_colour_that_is_asked_for_stands(outdoors: Opaque) -> None:
    made = HashTrainer(outdoors, FitOptions(steps=1, background="white"), CPU, training=SMALL)
    assert made.background == "white" and not made.field.config.unbounded
    plain = before(lambda view: np.array((1.0, 1.0, 1.0)))
    assert HashTrainer(plain, FitOptions(steps=1, background="black"), CPU, training=SMALL).background == "black"
    made = HashTrainer(plain, FitOptions(steps=1, unbounded="yes"), CPU, training=SMALL)
    assert made.field.config.sky and math.isfinite(made.advance().loss)
