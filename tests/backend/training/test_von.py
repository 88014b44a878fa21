"""Training of Visual Object Networks: voxels carved from silhouettes, both losses, a model folder, and processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from addon.wire.errors import UnusableDataset
from backend.cameras import from_wire, orbit
from backend.generators.von.projection import project, surface_places
from backend.generators.von.scene import VON, VONConfig
from backend.models.library import load_model
from backend.training.adversarial.processes import joined
from backend.training.adversarial.run import RunOptions
from backend.training.data.training_images import TrainingImages
from backend.training.von.config import VONTraining, published, small, small_published
from backend.training.von.data import UNIT, carved, sketches
from backend.training.von.shapes import principal_codes, shape_loss
from backend.training.von.train import Networks, model_config, train

from .coloured_balls import PRIOR, coloured_balls

ROOT = Path(__file__).resolve().parents[3]
SIDE = 16


def _objects() -> TrainingImages:
    """Balls of one place, in eight sizes and colours, eight views each."""
    data = coloured_balls(64, SIDE)
    order = torch.arange(64) % 8
    radii = data.images.float().mean((1, 2, 3)).argsort()  # images alike in size show one object
    objects = torch.empty(64, dtype=torch.long)
    objects[radii] = torch.arange(64) // 8
    assert len(order.unique()) == 8
    return replace(data, objects=objects)


DATA = _objects()
TINY = replace(
    small(), steps=30, batch=8, side=SIDE, z_dim=2, width=4, encoder_width=4, discriminator_widths=(6, 8), blocks=1,
    shape_dim=3, shape_widths=(12, 8, 6), generator_rate=3e-3, paired=30.0,
)  # fmt: skip
PUBLISHED = replace(
    small_published(), steps=30, batch=8, side=SIDE, z_dim=2, width=4, encoder_width=4, sketch_width=4,
    discriminator_width=4, blocks=1, shape_dim=3, shape_widths=(12, 8, 6), generator_rate=3e-3,
)  # fmt: skip
QUIET = RunOptions(progress=lambda *_: None, report_steps=10, checkpoint_seconds=1e9)


def test_carved_voxels_project_to_the_silhouettes_they_were_carved_from() -> None:
    data = carved(DATA)
    assert data.voxels.shape == (8, 32, 32, 32) and data.voxels.any((1, 2, 3)).all()
    sketch = sketches(data.voxels[data.shapes], data.views, SIDE, data.optics)
    seen = (data.images < 250).any(1)
    covered = sketch[:, 1] > 0
    assert (covered & seen).sum() > 0.85 * covered.sum() > 0.5 * seen.sum()
    with pytest.raises(UnusableDataset, match="which object"):
        carved(replace(DATA, objects=None))


def test_places_of_the_surface_are_those_of_its_voxels() -> None:
    voxels = torch.zeros(1, 32, 32, 32)
    voxels[0, 20:24, 6:10, 18:22] = 1.0
    view = torch.tensor([[0.4, 0.3]])
    optics = carved(DATA).optics
    sketch = project(voxels, view, optics, 32)
    places = surface_places(sketch, view, optics)[0].permute(1, 2, 0)[sketch.silhouette[0] > 0.99]
    centre = torch.tensor([21.5, 7.5, 19.5]) / 15.5 - 1
    assert len(places) > 3 and ((places - centre).abs() < 0.2).all()


@pytest.mark.parametrize("config", [TINY, PUBLISHED], ids=["r3gan", "published"])
def test_in_thirty_steps_what_the_loss_asks_for_improves_and_a_model_is_left(
    tmp_path: Path, config: VONTraining
) -> None:
    data = carved(DATA)
    sketch = sketches(data.voxels[data.shapes], data.views, SIDE, data.optics)
    real = data.images / 127.5 - 1

    @torch.no_grad()
    def error(networks: Networks) -> float:
        code, _ = networks.encode(real, torch.zeros(64, 2))
        painted = networks.paint(sketch, data.views, code)
        if config.loss == "r3gan":  # an image, painted with its own texture
            inside = (sketch[:, 1] > 0.8) & (real.amin(1) < 0.98)
            return float((painted - real).abs().mean(1)[inside].mean())
        return float((networks.sketch_of(painted) - sketch).abs().mean())  # the cycle of sketches

    torch.manual_seed(config.seed)
    first = Networks(config, VON(model_config(config, data)))
    before = error(first)
    run = train(config, DATA, tmp_path, QUIET)
    assert isinstance(run.generator, Networks) and error(run.generator) < 0.93 * before
    assert not torch.equal(run.generator.model.shape.output.weight, first.model.shape.output.weight)
    model = load_model(tmp_path / "model")
    assert isinstance(model, VON) and model.info.capabilities == ("transfer_texture",)
    assert model.info.pose_prior.radius == pytest.approx(PRIOR.radius) and model.half_edge == pytest.approx(UNIT)
    scene = model.synthesize(model.mapping(model.sample_z(0))[0])
    assert scene.render(from_wire(orbit(model.info, SIDE))).rgb.isfinite().all()


def test_the_shape_network_learns_to_decode_the_codes_of_its_voxels() -> None:
    torch.manual_seed(0)
    data = carved(DATA)
    codes = principal_codes(data.voxels, 3)
    torch.testing.assert_close(codes.std(0), torch.ones(3))
    model = VON(
        VONConfig(shape_dim=3, shape_widths=(12, 8, 6), logit_scale=1.0, axes="zyx", encoder_width=0, crop=False)
    )
    model.shape.requires_grad_(True).train()
    adam, losses = torch.optim.Adam(model.shape.parameters(), 2e-2), []
    for step in range(25):
        loss = shape_loss(model, codes, data.voxels, torch.Generator().manual_seed(step), 8)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.4 * losses[0]


def test_presets_are_what_they_state() -> None:
    assert published().loss == small_published().loss == "published" and published().paired == 0
    assert published().width == 64 and small().guided and not published().guided
    with pytest.raises(ValueError, match="discriminator_widths"):
        replace(small(), loss="published")


def test_two_processes_train_as_one_does_with_the_same_batch(tmp_path: Path) -> None:
    one = train(SHORT, DATA, None, QUIET)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    found = subprocess.run(
        [*command, "tests.backend.training.test_von", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    stored = load_file(tmp_path / "checkpoint.safetensors")
    for name in ("generator", "discriminator"):
        for key, value in getattr(one, name).state_dict().items():
            if not key.endswith(".bias"):  # before a normalisation their gradient is rounding alone
                torch.testing.assert_close(stored[f"{name}.{key}"], value, rtol=0, atol=1e-5)


# Small rates: Adam begins with steps of the size of the rate, also where a gradient is rounding alone
SHORT = replace(TINY, steps=5, generator_rate=1e-5, discriminator_rate=1e-5, shape_rate=1e-5)

if __name__ == "__main__":
    with joined(torch.device("cpu")) as processes:
        train(SHORT, DATA, Path(sys.argv[1]), replace(QUIET, processes=processes))
