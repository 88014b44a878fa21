"""EditNeRF training: rays and hulls of a family, a loss that falls, resuming, and what cannot be trained on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from addon.wire.errors import UnusableDataset
from addon.wire.messages import PosePrior
from backend.generators.editnerf.model import EditNeRF, EditNeRFConfig
from backend.models.library import load_model
from backend.training.data.random_cameras import cameras_at, pixel_centers
from backend.training.data.training_images import TrainingImages
from backend.training.editnerf.config import EditNeRFTraining, small
from backend.training.editnerf.data import family_of
from backend.training.editnerf.train import seen_by, step_losses, train, train_family

PRIOR = PosePrior(radius=4.0, fov=math.radians(30), elevation=(-0.2, 0.8), default_elevation=0.3)
TINY = EditNeRFTraining(
    EditNeRFConfig(
        shape_dim=4, color_dim=4, embedding_dim=8, shared_layers=1, shared_width=16, instance_layers=1,
        instance_width=24, fusion_layers=1, fusion_width=24, color_width=16, point_frequencies=2,
        direction_frequencies=1, num_samples=16, num_fine=0, image_size=16,
    ),
    side=16, steps=60, instances_per_step=3, rays_per_instance=48, hull_resolution=16, rate_warmup=5,
)  # fmt: skip
RADII = (0.3, 0.45, 0.6)
COLORS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.6, 0.2], [0.2, 0.2, 0.8]])


def balls(views: int = 6, side: int = 16) -> TrainingImages:
    """Three balls about the origin, each with a radius and a colour, seen from all around, with alpha."""
    objects = torch.arange(len(RADII)).repeat_interleave(views)
    angles = 2 * torch.rand(len(objects), 2, generator=torch.Generator().manual_seed(2)) - 1
    cameras = cameras_at(angles * torch.tensor([math.pi, 0.6]), PRIOR)
    origins, directions = cameras.rays(pixel_centers(side))
    directions = F.normalize(directions, dim=-1)
    closest = (origins - (origins * directions).sum(-1, keepdim=True) * directions).norm(dim=-1)
    inside = closest < torch.tensor(RADII)[objects, None]
    rgb = torch.where(inside[..., None], COLORS[objects][:, None], 1.0).transpose(1, 2).unflatten(2, (side, side))
    alpha = inside.unflatten(1, (1, side, side))
    return TrainingImages(
        (rgb * 255).round().to(torch.uint8), PRIOR, cameras.world_from_camera, cameras.intrinsics.contiguous(),
        objects, alpha.to(torch.uint8) * 255, name="Balls", licence="CC0-1.0",
    )  # fmt: skip


def test_rays_see_what_their_pixels_show_and_the_hull_holds_the_object() -> None:
    images = balls(side=32)
    family = family_of(images, 0, 16)
    rays = family.rays(torch.tensor([2, 0]), 200, torch.Generator().manual_seed(1))
    directions = F.normalize(rays.directions, dim=-1)
    closest = (rays.origins - (rays.origins * directions).sum(-1, keepdim=True) * directions).norm(dim=-1)
    assert rays.alpha is not None and rays.instance.tolist() == [2] * 200 + [0] * 200
    hit = closest < torch.tensor(RADII)[rays.instance]
    assert torch.equal(rays.alpha > 0.5, hit)
    assert torch.allclose(rays.rgb[hit], COLORS[rays.instance[hit]], atol=3e-3)
    points = F.normalize(torch.randn(500, 3), dim=-1)
    number = torch.full((500,), 1)
    assert family.may_be_dense(number, 0.44 * points).all()
    assert not family.may_be_dense(number, 0.85 * points).any()
    assert len(family_of(images, 2, 16).starts) == 3


def test_training_learns_sizes_and_colours_of_the_objects_inside_and_outside_their_hulls() -> None:
    images = balls()
    config = replace(TINY, model=seen_by(TINY.model, images), steps=250)
    network = train(config, None, family_of(images, 0, 16))
    points = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.5, 0.0], [0.75, 0.0, 0.0]])
    for number in range(3):
        raw = network.fine(network.fine.embed(network.codes[number]), points, torch.tensor([0.0, 1.0, 0.0]))
        dense = (raw[:, 3] > 1).tolist()
        assert (dense[0], dense[2]) == (True, False) and (number == 1 or dense[1] == (number == 2)), number
        assert raw[0, :3].argmax() == COLORS[number].argmax(), number


def test_without_alpha_every_ray_is_trained_on_its_whole_length() -> None:
    images = replace(balls(), alpha=None)
    family = family_of(images, 0, 16)
    config = replace(TINY, model=seen_by(TINY.model, images))
    network = EditNeRF(replace(config.model, num_codes=3))
    losses = step_losses(config, network, network.codes, family, torch.Generator().manual_seed(0))
    assert family.hulls is None and len(family.pixels) == 18 * 16**2
    assert "alpha" not in losses and float(losses["inside"]) > 0.7  # of the part in the cube


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    images = balls()
    family = family_of(images, 0, 16)
    config = replace(TINY, model=seen_by(TINY.model, images), steps=12, instances_per_step=2)

    def stop(fraction: float, text: str) -> None:
        if fraction >= 0.5:
            raise KeyboardInterrupt

    whole = train(config, tmp_path / "whole", family, report_steps=6)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", family, progress=stop, report_steps=6)
    resumed = train(config, tmp_path / "parts", family, report_steps=6)
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def _write(folder: Path, images: TrainingImages, *, objects: bool) -> Path:
    """Write transforms.json and RGBA images."""
    assert images.alpha is not None and images.objects is not None and images.world_from_camera is not None
    assert images.intrinsics is not None
    folder.mkdir()
    flip = torch.diag(torch.tensor([1.0, -1, -1, 1]))
    side, frames = images.images.shape[-1], []
    for number, (rgb, alpha) in enumerate(zip(images.images, images.alpha, strict=True)):
        pixels = torch.cat((rgb.permute(1, 2, 0), alpha.permute(1, 2, 0)), -1).numpy()
        Image.fromarray(pixels, "RGBA").save(folder / f"{number:02}.png")
        pose = (images.world_from_camera[number] @ flip).tolist()
        frame = {"file_path": f"{number:02}.png", "transform_matrix": pose}
        frames.append(frame | ({"object": int(images.objects[number])} if objects else {}))
    focal = float(images.intrinsics[0, 0, 0]) * side
    lens = {"fl_x": focal, "fl_y": focal, "cx": side / 2, "cy": side / 2, "w": side, "h": side}
    (folder / "transforms.json").write_text(json.dumps({**lens, "name": "Balls", "frames": frames}))
    return folder


def test_a_training_leaves_a_model_folder_and_sheets(tmp_path: Path) -> None:
    data = _write(tmp_path / "data", balls(22), objects=True)
    model = train_family(replace(TINY, steps=2, objects=2), tmp_path / "run", data=data)
    generator = load_model(model)
    assert (generator.info.kind, generator.info.label) == ("editnerf", "Balls (EditNeRF)")
    assert generator.info.controls[0].maximum == 2 and generator.info.pose_prior.radius == pytest.approx(4, abs=0.01)
    assert {"progress.png", "samples.png", "losses.jsonl", "checkpoint.safetensors"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_images_that_do_not_say_which_object_they_show_are_refused(tmp_path: Path) -> None:
    data = _write(tmp_path / "data", balls(22), objects=False)
    with pytest.raises(UnusableDataset, match="do not say which object they show"):
        train_family(small(), tmp_path / "run", data=data)
