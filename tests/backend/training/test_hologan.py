"""Training of HoloGAN: both losses, the view that its discriminator is told, processes; and no checkerboards."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backend.cameras import from_wire, orbit
from backend.generators.hologan.model import (
    Generator,
    HoloGANConfig,
    Resized,
    SameTranspose,
    rotate_volume,
    towards_image,
)
from backend.generators.hologan.scene import HoloGAN
from backend.models.library import load_model
from backend.training.adversarial.folded_discriminator import FoldedDiscriminator, angles_condition
from backend.training.adversarial.processes import joined
from backend.training.adversarial.run import RunOptions, Step
from backend.training.data.random_cameras import random_cameras
from backend.training.hologan.config import HoloGANTraining, published, small
from backend.training.hologan.train import new_discriminator, train, views_at
from backend.training.judging.checkerboard import checkerboard

from .coloured_balls import coloured_balls

ROOT = Path(__file__).resolve().parents[3]
DATA = coloured_balls(side=64)
TINY = replace(
    small(), steps=30, batch=8,
    generator=HoloGANConfig(
        z_dim=4, constant_channels=8, volume_channels=(8, 6), projected=12, image_channels=(8, 6), slope=0.2,
        doubling="resized",
    ),
    discriminator_widths=(6, 6, 8, 8),
)  # fmt: skip
PUBLISHED = replace(TINY, loss="published", told_view=False, discriminator_widths=(), discriminator_channels=4)
QUIET = RunOptions(progress=lambda *_: None, report_steps=10, checkpoint_seconds=1e9)


@pytest.mark.parametrize("config", [TINY, PUBLISHED], ids=["r3gan", "published"])
def test_in_thirty_steps_images_approach_the_real_ones_and_leave_a_model(
    tmp_path: Path, config: HoloGANTraining
) -> None:
    real = (DATA.images / 127.5 - 1).mean(0)
    step = Step(0, replace(config, batch=32), QUIET)
    z, views = 2 * step.uniform(4) - 1, views_at(random_cameras(step, DATA, "data").angles())

    @torch.no_grad()
    def distance(generator: torch.nn.Module) -> float:
        return float((generator(z, views).mean(0) - real).abs().mean())

    torch.manual_seed(config.seed)
    first = Generator(config.generator)
    run = train(config, DATA, tmp_path, QUIET)
    assert distance(run.generator) < 0.8 * distance(first)
    moved = (run.generator.constant - first.constant).detach().abs()  # through the projection and the rotation
    assert float(moved.max()) > 1e-3
    model = load_model(tmp_path / "model")
    assert isinstance(model, HoloGAN) and model.info.pose_prior.fov == pytest.approx(DATA.prior.fov)
    scene = model.synthesize(model.mapping(model.sample_z(0))[0])
    camera = from_wire(orbit(model.info, 64, azimuth=0.5, elevation=0.3))
    shown = scene.render(camera).rgb.permute(2, 0, 1)
    own = run.mean(*(x.expand(1, -1) for x in (model.sample_z(0), views_at(torch.tensor([[0.5, 0.3]])))))[0]
    assert (shown - (own.detach() / 2 + 0.5)).abs().mean() < 0.02  # the world's angles, by `facing`


def test_a_told_discriminator_tells_views_apart() -> None:
    torch.manual_seed(0)
    discriminator = new_discriminator(TINY)
    image, angles = torch.randn(4, 3, 64, 64), torch.rand(4, 2)
    score, guess = discriminator(image, angles_condition(angles))
    turned, _ = discriminator(image, angles_condition(angles + torch.tensor([3.14159265, 0.0])))
    again, _ = discriminator(image, angles_condition(angles + torch.tensor([2 * 3.14159265, 0.0])))
    assert guess.shape == (4, 4) and (score - turned).abs().min() > 1e-5
    torch.testing.assert_close(score, again, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="pixels a side"):
        FoldedDiscriminator(64, (8, 8))


def test_a_volume_turns_as_an_object_seen_by_the_moving_camera() -> None:
    """One voxel: from the right its near side is to the left; from above, lower. As in the images of the data."""

    def place(azimuth: float, elevation: float) -> tuple[float, float]:
        volume = torch.zeros(1, 1, 16, 16, 16)
        volume[..., 4, 8, 8] = 1.0
        shown = towards_image(rotate_volume(volume, views_at(torch.tensor([[azimuth, elevation]])))).sum(-1)[0, 0]
        row, column = (shown.nonzero().float() * shown[shown != 0][:, None]).sum(0) / shown.sum()
        return float(row), float(column)

    front = place(0.0, 0.0)
    near = place(0.0, 0.5)[0] > front[0]  # else it lies on the far side, and moves the other way
    assert abs(place(0.0, 0.5)[0] - front[0]) > 1
    assert (place(0.5, 0.0)[1] < front[1]) == near and abs(place(0.5, 0.0)[1] - front[1]) > 1


def test_resized_doublings_make_no_checkerboard_and_transposed_ones_do() -> None:
    """Of features without any pattern: smooth random ones, a fresh layer's weights."""
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(8, 6, 8, 8), 32, mode="bicubic")
    with torch.no_grad():
        transposed = checkerboard(SameTranspose(2, 6, 3, 3, 2)(smooth))
        resized = checkerboard(Resized(2, 6, 3)(smooth))
    assert resized[2] < 0.1 < 1 < transposed[2]
    pattern = torch.zeros(1, 3, 64, 64)
    pattern[..., ::4, :] = 1
    assert checkerboard(pattern)[4] > 100


def test_presets_have_the_sizes_they_state() -> None:
    assert published().generator == HoloGANConfig() and published().generator.doubling == "transposed"
    assert published().loss == "published" and published().gamma == 0 and not published().told_view
    assert published().generator.side == small().generator.side == 64
    assert 4 * sum(p.numel() for p in Generator(small().generator).parameters()) < 12e6  # bytes of the starter


def test_two_processes_train_as_one_does_with_the_same_batch(tmp_path: Path) -> None:
    one = train(SHORT, DATA, None, QUIET)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    found = subprocess.run(
        [*command, "tests.backend.training.test_hologan", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    stored = load_file(tmp_path / "checkpoint.safetensors")
    for name in ("generator", "mean", "discriminator"):
        for key, value in getattr(one, name).state_dict().items():
            torch.testing.assert_close(stored[f"{name}.{key}"], value, rtol=0, atol=1e-5)


# Small rates: Adam begins with steps of the size of the rate, also where a gradient is rounding alone
SHORT = replace(TINY, steps=5, generator_rate=4e-5, discriminator_rate=4e-5)

if __name__ == "__main__":
    with joined(torch.device("cpu")) as processes:
        train(SHORT, DATA, Path(sys.argv[1]), replace(QUIET, processes=processes))
