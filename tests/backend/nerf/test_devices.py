"""Fits and scenes on CUDA and MPS: on devices that the processor plays (tests/backend/fixtures/elsewhere.py), and on a
real one where there is one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from addon.wire.messages import FitOptions
from backend.bench.ray_traced import BOX, ray_traced
from backend.cameras import Camera
from backend.lens import Lens
from backend.models.card import ModelCard
from backend.models.scene_file import load_scene, save_scene
from backend.nerf.datasets import Dataset, Pixels, View
from backend.nerf.evaluate import evaluate
from backend.nerf.fit.state import FitState, fingerprint, read_tensors, write_state
from backend.nerf.hash.field import HashField
from backend.nerf.hash.presets import Training
from backend.nerf.hash.scene import HashScene
from backend.nerf.hash.trainer import HashTrainer
from backend.nerf.mlp.trainer import NeRFTrainer
from backend.scenes.cropped import cropped
from backend.scenes.placed import PlacedScene
from backend.scenes.protocol import Scene
from backend.tasks.mesh import colors, values
from backend.tasks.mesh import evaluate as as_numpy
from tests.backend.fixtures import fits
from tests.backend.fixtures.elsewhere import REAL_CUDA, device_of

CPU = torch.device("cpu")
KINDS = ("cuda", "mps", REAL_CUDA)
TINY = Training(
    network_rate=1e-2, log2_size=11, num_levels=4, finest=64, samples_per_step=1 << 10, grid=16, warm_up=4,
    update_every=4, cells_per_update=1 << 8,
)  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:at..frobenius_norm is deprecated")  # PyTorch's own, of MPS


@dataclass(frozen=True)
class Loaded(Dataset):
    """A data set whose pictures are in memory: reading them through a device that is played is slow."""

    pictures: dict[str, Pixels] = field(default_factory=dict)

    def load(self, view: View) -> Pixels:
        return self.pictures[view.name]


@pytest.fixture(scope="module")
def dataset() -> Loaded:
    traced = ray_traced(24)
    views = (*traced.split("train")[:12], *traced.split("test")[:1])
    return Loaded(
        Path("traced"), "ray-traced", views, bounds=BOX, pictures={view.name: traced.load(view) for view in views}
    )


def without_alpha(dataset: Loaded) -> Loaded:
    """Pictures of a scene that goes on beyond its cameras, with depth and through a lens that bends."""
    pictures = {
        name: Pixels(
            pixels.rgb, None, np.ones(pixels.rgb.shape[:2], bool), np.full(pixels.rgb.shape[:2], 1.5, np.float32)
        )
        for name, pixels in dataset.pictures.items()
    }
    lens = Lens("opencv", (-0.05, 0.0, 0.0, 0.0))
    return replace(
        dataset,
        pictures=pictures,
        bounds=None,
        views=tuple(replace(v, camera=replace(v.camera, lens=lens)) for v in dataset.views),
    )


def taken(fit: HashTrainer, steps: int) -> list[float]:
    """Take a few small steps; returns their losses."""
    if fit.step == 0:
        fit._rays_per_step = 128
    return [fit.advance().loss for _ in range(steps)]


OPTIONS = {
    "plain": FitOptions(steps=40),
    "everything": FitOptions(
        steps=40, appearance="exposure", color_space="linear", background="transparent", distortion_weight=0.01,
        opacity_weight=0.01, depth_weight=0.1, near=0.2, refine_poses=True, unbounded="no",
    ),
    "without end": FitOptions(steps=40, unbounded="yes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", OPTIONS)
def test_a_fit_takes_the_steps_that_it_takes_on_the_processor(
    dataset: Loaded, kind: str, which: str, tmp_path: Path
) -> None:
    given = dataset if which == "plain" else without_alpha(dataset)
    options, count = OPTIONS[which], 3 if which == "without end" else 10
    expected = taken(HashTrainer(given, options, CPU, training=TINY), count)
    with device_of(kind) as device:
        first = HashTrainer(given, options, device, training=TINY)
        got = taken(first, count - 2)
        assert first.field.table.device.type == device.type
        path = tmp_path / "state.safetensors"
        write_state(path, FitState(options, fingerprint(given)), first.tensors())
        second = HashTrainer(given, options, device, training=TINY)
        second.restore(read_tensors(path))
        assert second.step == first.step
        got += taken(second, 2)
        assert second.poses().device.type == device.type
    assert got == pytest.approx(expected, rel=0.05 if kind == "a real cuda" else 2e-3)  # it may be half precision


@pytest.fixture(scope="module")
def fitted(dataset: Loaded) -> HashField:
    fit = HashTrainer(dataset, FitOptions(steps=120), CPU, training=TINY)
    for _ in range(120):
        fit.advance()
    return fit.field


def moved(model: HashField, device: torch.device) -> HashField:
    return HashField(
        model.config, model.table.to(device), model.networks.detach().to(device), model.occupancy.occupied.to(device)
    )


def looks(scene: Scene, camera: Camera) -> dict[str, Tensor]:
    """All that is asked of a scene, on the CPU."""
    image = scene.render(camera)
    points = torch.linspace(-0.4, 0.4, 60).reshape(-1, 3)
    place = camera.world_from_camera.device
    sample = scene.field(points.to(place))
    assert image.normal is not None and sample.rgb is not None
    found = {
        "rgb": image.rgb * image.alpha[..., None], "alpha": image.alpha, "depth": image.depth.nan_to_num(posinf=0),
        "normal": image.normal, "value": sample.value, "color": sample.rgb,
        "meshed": torch.from_numpy(as_numpy(scene, place, values)(points.numpy())),
        "painted": torch.from_numpy(as_numpy(scene, place, colors)(points.numpy())),
    }  # fmt: skip
    return {name: value.cpu() for name, value in found.items()}


def assert_alike(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 2e-3) -> None:
    for name, value in got.items():
        rms = float(expected[name].square().mean().sqrt())
        off = float((value - expected[name]).square().mean().sqrt())
        assert off <= tolerance * max(rms, 1.0), f"{name} is off by {off:.2g} of {rms:.2g}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_scene_is_the_one_of_the_processor(dataset: Loaded, fitted: HashField, kind: str, tmp_path: Path) -> None:
    view = dataset.split("test")[0]
    bent = replace(view.camera, lens=Lens("fisheye", (0.01, 0.0, 0.0, 0.0)))
    box = ((-0.3, -0.3, -0.3), (0.3, 0.3, 0.3))

    def all_of(model: HashField, device: torch.device) -> tuple[dict[str, Tensor], list[float | None]]:
        """What the scene looks like in all ways, how near it is to a photograph, and its level."""
        scene = HashScene(model)
        found = looks(scene, view.camera.to(device))
        found["bent"] = scene.render(bent.to(device)).alpha.cpu()
        found["cropped"] = cropped(scene, box).render(view.camera.to(device)).alpha.cpu()
        placed = PlacedScene(scene, torch.diag(torch.tensor([1.2, 0.8, 1.0, 1.0])).to(device))
        found["placed"] = placed.render(view.camera.to(device)).alpha.cpu()
        found["placed value"] = placed.field(torch.zeros(3, 3).to(device)).value.cpu()
        rays = view.camera.to(device).rays()
        origins, directions = model.from_world(rays.origins.reshape(-1, 3)), rays.directions.reshape(-1, 3)
        ways = (False, True) if kind == "cuda" else (False,)  # an aligned camera is rendered a hundred times
        judged = [evaluate(scene, dataset, [view], device, refine_poses=aligned).psnr for aligned in ways]
        return found, [*judged, float(model.median_depth(origins, directions)[2].median())]

    expected = all_of(fitted, CPU)
    with device_of(kind) as device:
        got = all_of(moved(fitted, device), device)
        name, constructor, tensors = HashScene(moved(fitted, device)).tensors()
        save_scene(tmp_path / "scene.safetensors", card(name, constructor), tensors)
    assert_alike(got[0], expected[0], 0.02 if kind == "a real cuda" else 2e-3)
    assert got[1] == pytest.approx(expected[1], rel=1e-2)
    opened = load_scene(tmp_path / "scene.safetensors")
    assert_alike(
        looks(opened.synthesize(torch.zeros(1, 0, 0)), view.camera), looks(HashScene(fitted), view.camera), 1e-6
    )


def card(kind: str, constructor: dict[str, object]) -> ModelCard:
    return ModelCard(
        kind=kind, label="x", description="x", licence="CC0", non_commercial=False,
        constructor=json.loads(json.dumps(constructor)), source="trained",
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", OPTIONS)
def test_vanilla_nerf_is_fitted_there(dataset: Loaded, kind: str, which: str) -> None:
    given = dataset if which == "plain" else without_alpha(dataset)
    options = replace(OPTIONS[which], method="nerf")
    with device_of(kind) as device:
        fit = NeRFTrainer(given, options, device, training=fits.TRAINING)
        losses = [fit.advance().loss for _ in range(3)]
        image = fit.scene().render(given.views[-1].camera.to(device))
        again = NeRFTrainer(given, options, device, training=fits.TRAINING)
        again.restore({name: value.cpu() for name, value in fit.tensors().items()})
        losses.append(again.advance().loss)
        assert image.rgb.device.type == device.type and bool(image.rgb.isfinite().all())
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.gpu
def test_on_a_real_device_a_short_fit_shows_views_that_it_has_not_seen() -> None:
    dataset, device = ray_traced(64), torch.device("cuda")
    fit = HashTrainer(dataset, FitOptions(steps=400, preset="draft"), device)
    for _ in range(400):
        fit.advance()
    views = dataset.split("test")
    there = evaluate(fit.scene(), dataset, views, device)
    assert there.psnr is not None and there.psnr > 22.5  # 24.4 on a processor
    here = evaluate(HashScene(moved(fit.field, CPU)), dataset, views, CPU)
    assert here.psnr == pytest.approx(there.psnr, abs=0.1)
