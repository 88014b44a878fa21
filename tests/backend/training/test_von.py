"""Training of Visual Object Networks: textures from unpaired images and sketches, shapes, and the export."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from backend.generators.von.model import ShapeNetwork
from backend.generators.von.scene import VON
from backend.models.library import load_model
from backend.rendering.boxes import box_interval
from backend.training.data import chair_views
from backend.training.features import ImageFeatures
from backend.training.von import evaluate
from backend.training.von import export as von_export
from backend.training.von.config import VONTraining, published, small
from backend.training.von.data import CHAIR_OPTICS, VOXEL, Data, chair_data, sketches
from backend.training.von.shapes import ShapeTraining, principal_codes, train_shapes
from backend.training.von.train import Run, contact_sheet, draw, train

SIDE = 24
TINY = VONTraining(
    z_dim=2, width=4, encoder_width=4, sketch_width=4, discriminator_width=4, blocks=1, steps=50, batch=4, rate=2e-3,
    mean_decay=0.9,
)  # fmt: skip


def _boxes(count: int = 24, side: int = SIDE) -> Data:
    """Boxes of one colour each over white, from random views; the image is the silhouette, so it is exact."""
    random = torch.Generator().manual_seed(0)
    ticks = torch.linspace(-1, 1, 12)
    grid = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).abs()
    lengths = 0.3 + 0.4 * torch.rand(count, 1, 1, 1, 3, generator=random)
    voxels = (grid[None] < lengths).all(-1)
    views = torch.rand(count, 2, generator=random) * torch.tensor([2 * math.pi, 0.6])
    colors = torch.rand(count, 3, 1, 1, generator=random) * 0.7
    mask = (sketches(voxels, views, side)[:, 1:] + 1) / 2
    images = colors * mask + (1 - mask)
    return Data((images * 255).to(torch.uint8), views, torch.arange(count), voxels)


def test_in_fifty_steps_every_cycle_loss_falls(tmp_path: Path) -> None:
    data = _boxes()
    run = train(TINY, tmp_path, data, snapshot_steps=25)
    losses = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in losses] == [25, 50]
    for name in ("sketch", "image", "loss_d"):
        assert losses[-1][name] < 0.9 * losses[0][name]
    shown = evaluate.random_sketches(data, 32)
    painted, before = evaluate.painted(run.mean, shown), evaluate.painted(Run(TINY).mean, shown)
    real = (data.images / 127.5 - 1).mean((0, 2, 3))
    assert (painted.mean((0, 2, 3)) - real).abs().mean() < (before.mean((0, 2, 3)) - real).abs().mean()
    assert [path.name for path in sorted((tmp_path / "snapshots").iterdir())] == [
        "step000025.safetensors",
        "step000050.safetensors",
    ]


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    data = _boxes(8)
    config = replace(TINY, steps=6)
    straight = train(config, tmp_path / "straight", data, checkpoint_seconds=1e9, draw_seconds=1e9)

    half = tmp_path / "half"
    stopped = Run(config)
    half.mkdir()
    for step in range(3):
        stopped.set_rates(step)
        stopped.step(*draw(config, data, step))
        stopped.follow(step + 1)
    stopped.save(half / "checkpoint.safetensors", 3)
    resumed = train(config, half, data, checkpoint_seconds=1e9, draw_seconds=1e9)
    for one, other in zip(straight.mean.parameters(), resumed.mean.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    with pytest.raises(ValueError, match=r"another configuration \(width\)"):
        train(replace(config, width=8), half, data)


def test_the_paired_term_teaches_the_colour_of_an_images_own_sketch() -> None:
    data = _boxes(8)

    def error(paired: float) -> float:
        run = Run(replace(TINY, paired=paired))
        for step in range(20):
            run.step(*draw(run.config, data, step))
        own = sketches(data.voxels, data.views, SIDE)
        real = data.images / 127.5 - 1
        with torch.no_grad():
            return float((run.paint(own, run.encoder(real)[0]) - real).abs().mean())

    assert error(20.0) < error(0.0)


def test_the_contact_sheet_shows_a_row_for_each_sketch() -> None:
    made = contact_sheet(Run(TINY), _boxes(8), rows=3, scale=1)
    assert made.size == (8 * SIDE, 3 * SIDE)


def test_the_recipes_have_the_sizes_they_state() -> None:
    texture = sum(p.numel() for p in Run(small()).texture.parameters())
    assert 80_000 < texture < 200_000
    assert published().paired == 0 and small().paired == 0 and published().width == 64


def _chair_file(folder: Path, seed: int) -> None:
    """A box as `chair_views` would write it: its images have the outline of its distances."""
    ticks = chair_views.voxel_centers()
    half = np.array([0.5, 0.35, 0.6]) * (0.7 + 0.1 * (seed % 4))
    distances = (np.abs(ticks) - half).max(-1)
    azimuths = np.linspace(0, 6, 24).astype(np.float32)
    elevations = np.full(24, 0.3, np.float32)
    images = np.full((24, 64, 64, 3), 255, np.uint8)
    images[:, 20:44, 20:44] = (180, 60, 40)
    np.savez(
        folder / f"chair{seed:04d}.npz", images=images, azimuths=azimuths, elevations=elevations,
        distances=distances.astype(np.float16),
    )  # fmt: skip


def test_sketches_of_chairs_match_their_images(tmp_path: Path) -> None:
    """Rays of the images' own camera, intersected with the box, against the sketch of its voxels."""
    _chair_file(tmp_path, 0)
    data = chair_data(tmp_path, range(1))
    half = (np.array([0.5, 0.35, 0.6]) * 0.7).tolist()
    for index in (0, 5, 13):
        azimuth, elevation = data.views[index].tolist()
        rays = chair_views.camera(azimuth, elevation).rays()
        box = (-half[0], -half[1], -half[2]), (half[0], half[1], half[2])
        near, far = box_interval(rays.origins.reshape(-1, 3).float(), rays.directions.reshape(-1, 3).float(), box)
        hit = (near < far).reshape(64, 64)
        depth = near.reshape(64, 64) * rays.depth_from_distance
        sketch = sketches(data.voxels[:1], data.views[index : index + 1], 64)[0]
        certain = sketch[1] > 0
        assert (hit & ~certain).sum() <= 0.02 * hit.sum() and (certain & ~hit).sum() < 0.25 * hit.sum()
        seen = (CHAIR_OPTICS.distance - sketch[0] * CHAIR_OPTICS.reach) * VOXEL
        inner = -torch.nn.functional.max_pool2d(-hit[None].float(), 7, 1, 3)[0] > 0
        assert float((seen - depth)[inner].abs().median()) < 2 * VOXEL / 31


def test_codes_are_of_variance_one_and_the_shape_network_learns_its_voxels() -> None:
    distances = torch.stack([_distance(0.3 + 0.05 * i, 0.9 - 0.05 * i) for i in range(8)])
    codes = principal_codes(distances, 3)
    torch.testing.assert_close(codes.std(0), torch.ones(3))
    assert codes.mean(0).abs().max() < 1e-4
    config = ShapeTraining(z_dim=3, widths=(16, 8, 4), steps=60, batch=8, rate=2e-2)
    network = train_shapes(config, distances, distances < 0, log=False)
    with torch.no_grad():
        logits = network.logits(codes)
    made = (logits + logits.flip(-1)) > 0
    agree = (made & (distances < 0)).flatten(1).sum(1) / (made | (distances < 0)).flatten(1).sum(1)
    assert agree.mean() > 0.75


def _distance(width: float, height: float) -> Tensor:
    ticks = torch.linspace(-1, 1, 32)
    z, y, x = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    return torch.stack((x.abs() - width, y.abs() - 0.4, z.abs() - height)).amax(0)


def test_a_run_becomes_a_model_with_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chair_views, "NUM_TRAIN", 4)
    monkeypatch.setattr(chair_views, "HELD_OUT", range(4, 6))
    monkeypatch.setattr(evaluate, "NUM_PAINTED", 16)
    # with fewer images than features the covariance has no root
    monkeypatch.setattr(evaluate, "frechet_distance", lambda a, b: float((a.mean(0) - b.mean(0)).square().sum()))
    for module in (evaluate, von_export):
        monkeypatch.setattr(module, "chair_data", lambda folder, seeds=range(4): chair_data(folder, seeds))
    for seed in range(6):
        _chair_file(tmp_path, seed)
    config = replace(TINY, steps=2)
    train(config, tmp_path / "run", chair_data(tmp_path, range(4)))
    torch.manual_seed(0)
    save_file(ImageFeatures().state_dict(), tmp_path / "features.safetensors")
    shapes = ShapeTraining()
    save_file(ShapeNetwork(shapes.z_dim, shapes.widths, logit_scale=1.0).state_dict(), tmp_path / "shapes.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    found = evaluate.measure(tmp_path / "run", tmp_path, tmp_path / "features.safetensors")
    (out / "figures.json").write_text(json.dumps(found))
    assert list(found["frechet"]) == ["0", "2"]
    for name in ("sweep", "grid", "transfer"):  # many renders, inspected when a model is made
        monkeypatch.setattr(von_export, name, lambda *_: Image.new("RGB", (4, 4)))
    folder = von_export.export(tmp_path / "run", tmp_path, out, tmp_path / "shapes.safetensors", "It is tiny.")
    model = load_model(folder)
    assert isinstance(model, VON) and model.info.capabilities == ("transfer_texture",)
    assert model.info.pose_prior.radius == pytest.approx(chair_views.DISTANCE * von_export.METRES_PER_UNIT)
    assert model.info.pose_prior.fov == pytest.approx(chair_views.FOV)
    assert "It is tiny." in model.info.card and "no term that knows" in model.info.card
    assert (folder / "thumbnail.png").is_file()
