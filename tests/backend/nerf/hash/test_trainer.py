"""Training of a hash field on images of a sphere on a box, and each of its options."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from addon.wire.errors import Diverged
from addon.wire.messages import FitOptions
from backend.bench.ray_traced import BOX, VIEWS, RayTracedDataset, views_around
from backend.cameras import Camera
from backend.nerf.datasets import Dataset, Pixels, View, open_dataset
from backend.nerf.fit.rays import TrainingRays
from backend.nerf.hash.placement import cell_centers
from backend.nerf.hash.presets import Training
from backend.nerf.hash.trainer import HashTrainer
from tests.backend.fixtures import photographed

CPU = torch.device("cpu")
TINY = Training(
    network_rate=1e-2,
    log2_size=11,
    num_levels=4,
    finest=64,
    samples_per_step=1 << 12,
    grid=32,
    warm_up=30,
    cells_per_update=1 << 12,
)
STEPS = 250


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographed.write(tmp_path_factory.mktemp("photographed"), size=40, train=20, test=2)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    return open_dataset(folder)


def fit(dataset: Dataset, steps: int = STEPS, training: Training = TINY, **options: object) -> HashTrainer:
    made = HashTrainer(dataset, FitOptions(steps=steps, **options), CPU, training=training)  # type: ignore[arg-type]
    for _ in range(steps):
        made.advance()
    return made


def psnr(made: HashTrainer, dataset: Dataset, behind: float = 0.0) -> float:
    """Mean over the held-back views, both over the same grey."""
    errors = []
    for view in dataset.split("test"):
        pixels = dataset.load(view)
        image = made.scene().render(view.camera)
        assert pixels.alpha is not None
        alpha = torch.from_numpy(pixels.alpha).float()[..., None] / 255
        truth = torch.from_numpy(pixels.rgb).float() / 255 * alpha + behind * (1 - alpha)
        got = image.rgb * image.alpha[..., None] + behind * (1 - image.alpha[..., None])
        errors.append(-10 * math.log10(float((got - truth).square().mean())))
    return sum(errors) / len(errors)


def over(folder: Path, target: Path, color: float, change: object = None) -> Path:
    """The data set without alpha: all pictures over one grey, perhaps changed by change(number, rgb 0..1)."""
    for path in sorted(folder.rglob("*")):
        to = target / path.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".png":
            rgba = np.asarray(Image.open(path), np.float32) / 255
            rgb = rgba[..., :3] * rgba[..., 3:] + color * (1 - rgba[..., 3:])
            if callable(change) and path.parent.name == "train":
                rgb = change(int(path.stem.split("_")[1]), rgb)
            Image.fromarray(np.asarray(np.clip(rgb, 0, 1) * 255 + 0.5, np.uint8)).save(to)
        elif path.is_file():
            to.write_bytes(path.read_bytes())
    return target


def test_a_short_fit_shows_views_that_it_has_not_seen(dataset: Dataset) -> None:
    made = fit(dataset)
    assert made.step == STEPS and made.seconds > 0
    assert psnr(made, dataset) > 22.0
    kind, config, tensors = made.scene().tensors()
    assert kind == "hash_field" and json.dumps(config) and all(x.isfinite().all() for x in tensors.values())


@pytest.mark.parametrize("background", ["white", "black", "transparent"])
def test_any_background_leaves_space_empty_where_pictures_are(dataset: Dataset, background: str) -> None:
    made = fit(dataset, 200, background=background)
    view = dataset.split("test")[0]
    truth = dataset.load(view).alpha
    assert truth is not None
    alpha = made.scene().render(view.camera).alpha
    assert alpha[torch.from_numpy(truth == 0)].mean() < 0.03
    assert alpha[torch.from_numpy(truth == 255)].mean() > 0.93


@pytest.mark.parametrize("background", ["auto", "white"])
def test_linear_light_is_composited_and_shown_as_srgb(dataset: Dataset, background: str) -> None:
    training = dataclasses.replace(TINY, network_rate=4e-3)  # colours close to black are 0 to a network that jumps
    made = fit(dataset, 300, training, color_space="linear", background=background)
    assert made.field.config.linear
    assert psnr(made, dataset) > 23.0 and psnr(made, dataset, 1.0) > 23.0


@pytest.mark.parametrize("appearance", ["exposure", "color"])
def test_a_fit_that_goes_on_is_the_fit_that_never_stopped(dataset: Dataset, appearance: Any) -> None:
    options = FitOptions(steps=60, appearance=appearance, seed=3)
    whole, first, second = (HashTrainer(dataset, options, CPU, training=TINY) for _ in range(3))
    expected = [whole.advance().loss for _ in range(60)]
    got = [first.advance().loss for _ in range(37)]
    kept = {name: tensor.clone() for name, tensor in first.tensors().items()}
    first.advance()
    second.restore(kept)
    assert second.step == 37
    got += [second.advance().loss for _ in range(23)]
    assert got == expected
    assert all(
        torch.equal(a, b) for a, b in zip(whole.scene().tensors()[2].values(), second.scene().tensors()[2].values())
    )


def test_a_fit_of_another_box_does_not_go_on_in_this_one(dataset: Dataset) -> None:
    """The table's content would be elsewhere. Earlier versions did not store the box: a known one is the same."""
    made = fit(dataset, 2)
    kept = {name: tensor.clone() for name, tensor in made.tensors().items()}
    with pytest.raises(RuntimeError, match="box"):
        made.restore({**kept, "box": kept["box"] + 0.01})
    del kept["box"]
    with pytest.raises(KeyError, match="box"):
        made.restore(kept)
    fit(dataclasses.replace(dataset, bounds=((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))), 1).restore(kept)


@pytest.mark.parametrize("where", ["table", "networks"])
def test_nan_stops_the_fit_and_the_rest_is_kept(dataset: Dataset, where: str) -> None:
    made = fit(dataset, 20)
    tensors = made.tensors()
    tensors[where].view(-1)[::3] = torch.nan
    before = {name: tensors[name].clone() for name in ("table", "networks", "table_mean")}
    with pytest.raises(Diverged, match="diverged in step 20"):
        made.advance()
    for name, tensor in before.items():
        torch.testing.assert_close(made.tensors()[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert made.step == 20


def test_regularisers_do_what_they_say(dataset: Dataset) -> None:
    def measured(made: HashTrainer) -> tuple[float, float]:
        """α(1 − α), and the distortion, of the rays of a view."""
        pixels = rays_of(made, 0)
        return float((pixels[0] * (1 - pixels[0])).mean()), float(pixels[1].mean())

    plain = measured(fit(dataset, 150))
    opacity = measured(fit(dataset, 150, opacity_weight=0.3))
    distortion = measured(fit(dataset, 150, distortion_weight=1.0))
    assert opacity[0] < 0.7 * plain[0]
    assert distortion[1] < 0.9 * plain[1]


def rays_of(made: HashTrainer, view: int) -> tuple[Tensor, Tensor]:
    """alpha and distortion [R] of the rays of a training view."""
    from backend.kernels.compositing import composite_packed
    from backend.kernels.hash_encoding import hash_encode
    from backend.kernels.radiance_mlp import radiance_mlp
    from backend.kernels.spherical_harmonics import spherical_harmonics

    model = made.field
    origins, directions = made.rays.of_view(view).in_world(made.rays.poses)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    with torch.no_grad():
        samples = model.march(model.from_world(origins), directions)
        features = hash_encode(samples.points, model.table, model.config.table)
        raw = radiance_mlp(
            features, spherical_harmonics(directions), samples.rays, model.networks, model.config.networks
        )
        pixels = composite_packed(raw, samples.t, samples.lengths, samples.offsets)
    return pixels.alpha, pixels.distortion


@pytest.mark.parametrize("unbounded", ["no", "yes"])
def test_nothing_is_left_near_the_cameras(folder: Path, tmp_path: Path, unbounded: str) -> None:
    bare = open_dataset(over(folder, tmp_path, 0.5))
    made = HashTrainer(bare, FitOptions(unbounded=unbounded, near=2.0, steps=1), CPU, training=TINY)  # type: ignore[arg-type]
    config = made.field.config
    cells = cell_centers(config, TINY.grid, CPU)
    n = TINY.grid
    unit = made.field.unit(made.field.from_world(cells)).reshape(n, n, n, 3)
    torch.testing.assert_close(unit[3, 20, 9] * n, torch.tensor([3.5, 20.5, 9.5]), rtol=0, atol=1e-3)
    distance = torch.stack([(cells - pose[:3, 3]).norm(dim=-1) for pose in made.rays.poses]).amin(0).reshape(n, n, n)
    assert not made.occupancy.possible[distance < 2.0].any() and (distance < 2.0).any()
    elsewhere = made.occupancy.possible[distance > 2.0]
    if unbounded == "no":
        assert elsewhere.all()
        return
    frames = torch.stack([in_frame(view, cells) for view in made.views]).sum(0).reshape(n, n, n)
    assert made.occupancy.possible[(distance > 2.0) & (frames > len(made.views) / 2)].all()
    assert not made.occupancy.possible[frames == 0].float().mean() > 0.1 and (frames == 0).any(), "nobody sees it"


def in_frame(view: View, points: Tensor) -> Tensor:
    """Return whether a camera has points [N, 3] in its frame."""
    local = (
        torch.linalg.inv(view.camera.world_from_camera.double())
        @ torch.cat((points, torch.ones_like(points[:, :1])), 1).double().T
    )
    u, v, depth = view.camera.intrinsics.double() @ local[:3].double()
    width, height = view.camera.width, view.camera.height
    return (depth > 0) & (u > 0) & (u < width * depth) & (v > 0) & (v < height * depth)


@dataclasses.dataclass(frozen=True)
class Photographed(Dataset):
    """A data set whose images are changed when they are read, by change(view, pixels)."""

    change: Callable[[View, Pixels], Pixels] = dataclasses.field(default=lambda view, pixels: pixels)

    def load(self, view: View) -> Pixels:
        return self.change(view, super().load(view))


def changed(dataset: Dataset, change: Callable[[View, Pixels], Pixels]) -> Photographed:
    values = {item.name: getattr(dataset, item.name) for item in dataclasses.fields(Dataset)}
    return Photographed(**values, change=change)


def test_masks_keep_what_stands_before_the_object_out_of_the_field(dataset: Dataset) -> None:
    """A green card hides a quarter of each training picture, at another place in each."""

    def hidden(view: View, pixels: Pixels) -> Pixels:
        if view.split != "train":
            return pixels
        assert pixels.alpha is not None
        random = np.random.default_rng(int("".join(filter(str.isdigit, view.name))))
        y, x = random.integers(0, 21, 2)
        rgb, alpha, mask = pixels.rgb.copy(), pixels.alpha.copy(), np.ones(pixels.rgb.shape[:2], bool)
        rgb[y : y + 20, x : x + 20], alpha[y : y + 20, x : x + 20], mask[y : y + 20, x : x + 20] = (
            (0, 255, 0),
            255,
            False,
        )
        return Pixels(rgb, alpha, mask)

    masked = changed(dataset, hidden)
    bare = changed(dataset, lambda view, pixels: dataclasses.replace(hidden(view, pixels), mask=None))
    assert psnr(fit(masked, 150), dataset) > psnr(fit(bare, 150), dataset) + 4


def test_depth_pictures_put_the_surface_where_it_is(dataset: Dataset) -> None:
    """The ball alone, as a camera's z: seen from few sides, without alpha, its place is not known from colours."""

    def ball(view: View, pixels: Pixels) -> Pixels:
        rays = view.camera.rays()
        b = (rays.origins * rays.directions).sum(-1)
        root = b * b - (rays.origins.square().sum(-1) - photographed.SPHERE**2)
        clear = (pixels.rgb.astype(int)[..., 0] > 90) & (
            pixels.rgb.astype(int)[..., 2] < 90
        )  # the box is not before it
        depth = torch.where((root > 0.02) & torch.from_numpy(clear), (-b - root.clamp(min=0).sqrt()), torch.nan)
        return dataclasses.replace(pixels, depth=(depth * rays.depth_from_distance).numpy())

    few = dataclasses.replace(
        dataset, views=tuple(v for n, v in enumerate(dataset.views) if v.split != "train" or n < 4)
    )
    known = changed(few, ball)

    def missed(made: HashTrainer) -> float:
        """Mean distance from the true depth, metres, in the views held back."""
        found = []
        for view in dataset.split("test"):
            truth = torch.from_numpy(ball(view, dataset.load(view)).depth)
            seen = made.scene().render(view.camera).depth
            at = truth.isfinite() & seen.isfinite()
            found.append((seen - truth)[at].abs())
        return float(torch.cat(found).mean())

    assert missed(fit(known, 200, depth_weight=0.3)) < 0.85 * missed(fit(known, 200))


def test_pictures_over_one_grey_show_an_object_before_it(folder: Path, tmp_path: Path) -> None:
    bare = open_dataset(over(folder, tmp_path, 0.6))
    made = fit(bare, 60)
    assert made.background == "#999999" and not made.field.config.unbounded
    image = made.scene().render(bare.split("test")[0].camera)
    truth = torch.from_numpy(bare.load(bare.split("test")[0]).rgb).float() / 255
    got = image.rgb * image.alpha[..., None] + 0.6 * (1 - image.alpha[..., None])
    assert -10 * math.log10(float((got - truth).square().mean())) > 14.0


def test_rays_are_those_of_the_camera(dataset: Dataset) -> None:
    views = dataset.split("train")[:2]
    rays = TrainingRays(views, [dataset.load(view) for view in views], CPU)
    batch = rays.of_view(1)
    origins, directions = batch.in_world(rays.poses)
    camera: Camera = views[1].camera
    expected = camera.rays()
    torch.testing.assert_close(origins, expected.origins.reshape(-1, 3).float(), rtol=0, atol=1e-5)
    unit = directions / directions.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(unit, expected.directions.reshape(-1, 3).float(), rtol=0, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Exposed(RayTracedDataset):
    """Images whose exposures differ, by gains [name]."""

    gains: dict[str, float] = dataclasses.field(default_factory=dict)

    def load(self, view: View) -> Pixels:
        pixels = super().load(view)
        return Pixels((pixels.rgb * self.gains[view.name]).astype(np.uint8), pixels.alpha)


def test_exposures_of_pictures_are_found() -> None:
    views = views_around(VIEWS, 48)
    random = np.random.default_rng(0)
    gains = {view.name: float(np.exp(random.uniform(-0.5, 0.0))) for view in views}
    dataset = Exposed(Path(), "ray-traced", views, bounds=BOX, gains=gains)
    made = HashTrainer(dataset, FitOptions(steps=250, appearance="exposure", preset="draft"), CPU)
    for _ in range(250):
        made.advance()
    true = np.log([gains[view.name] for view in dataset.split("train")])
    found = made.tensors()["exposure"].mean(1).numpy()
    assert np.corrcoef(true, found)[0, 1] > 0.95
    assert 0.7 < found.std() / true.std() < 1.3


@pytest.mark.parametrize("appearance", ["exposure", "color"])
def test_what_each_camera_did_to_its_colors_stays_out_of_the_field(dataset: Dataset, appearance: str) -> None:
    """Pictures that differ in exposure and white balance, or in contrast and tint too; those held back do not."""
    names = [view.name for view in dataset.split("train")]
    random = np.random.default_rng(0)
    transforms = np.zeros((len(names), 3, 4))
    if appearance == "exposure":
        gains = random.uniform(-0.4, 0.4, (len(names), 1)) + random.uniform(-0.2, 0.2, (len(names), 3))
        transforms[:, range(3), range(3)] = np.exp(gains - gains.mean(0))
    else:
        transforms[:, :, :3] = random.uniform(-0.25, 0.25, (len(names), 3, 3))
        transforms[:, :, 3] = random.uniform(-0.1, 0.1, (len(names), 3))
        transforms += np.eye(3, 4) - transforms.mean(0)

    def exposed(view: View, pixels: Pixels) -> Pixels:
        rgb = 0.2 + 0.5 * pixels.rgb / 255  # leaves room for what follows
        if view.split == "train":
            own = transforms[names.index(view.name)]
            rgb = rgb @ own[:, :3].T + own[:, 3]
        return dataclasses.replace(pixels, rgb=(rgb.clip(0, 1) * 255 + 0.5).astype(np.uint8))

    varied = changed(dataset, exposed)
    without, learnt = (psnr(fit(varied, appearance=kind), varied) for kind in ("none", appearance))
    assert learnt > without + 2


def test_alpha_that_is_opaque_everywhere_does_not_count(dataset: Dataset) -> None:
    """Pictures of a room saved with alpha: the scene goes on beyond the cameras, and nothing is carved."""

    def opaque(view: View, pixels: Pixels) -> Pixels:
        assert pixels.alpha is not None
        walls = np.linspace(0, 255, pixels.rgb.shape[1])[:, None].repeat(3, 1)
        rgb = np.where(pixels.alpha[..., None] > 0, pixels.rgb, walls).astype(np.uint8)
        return dataclasses.replace(pixels, rgb=rgb, alpha=np.full_like(pixels.alpha, 255))

    room = dataclasses.replace(changed(dataset, opaque), bounds=None)
    made = HashTrainer(room, FitOptions(steps=1), CPU, training=TINY)
    assert not made.rays.has_alpha
    assert made.field.config.sky and made.occupancy.possible[12:20, 12:20, 12:20].all(), "nothing is carved"
    made = HashTrainer(dataclasses.replace(dataset, bounds=None), FitOptions(steps=1), CPU, training=TINY)
    assert made.background == "random" and not made.field.config.unbounded, "with alpha it is otherwise"


def test_a_transparent_background_fits_alpha_itself(dataset: Dataset) -> None:
    def missed(made: HashTrainer) -> float:
        """Mean error of alpha in the views held back."""
        found = []
        for view in dataset.split("test"):
            alpha = dataset.load(view).alpha
            assert alpha is not None
            found.append((made.scene().render(view.camera).alpha - torch.from_numpy(alpha).float() / 255).abs())
        return float(torch.stack(found).mean())

    assert missed(fit(dataset, 150, background="transparent")) < 0.8 * missed(fit(dataset, 150, background="random"))
