"""Recipes on CUDA: on a device that the CPU plays (tests/backend/fixtures/elsewhere.py), and on a real one if there is
one. Random numbers are drawn on the CPU, so every device takes the same steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from addon.wire.messages import PosePrior
from backend.generators.deepsdf.model import DecoderSpec
from backend.generators.hologan.model import HoloGANConfig
from backend.training.adversarial.run import RunOptions
from backend.training.data.training_images import TrainingImages
from backend.training.deepsdf import config as deepsdf
from backend.training.deepsdf.train import train as train_deepsdf
from backend.training.experiments import solid_object
from backend.training.experiments.image_memorisation import Memorisation, memorise
from backend.training.gan3d import config as gan3d
from backend.training.gan3d import image_to_shape
from backend.training.gan3d.train import train as train_gan3d
from backend.training.hologan.config import HoloGANTraining
from backend.training.hologan.train import train as train_hologan
from tests.backend.fixtures.elsewhere import REAL_CUDA, device_of

RANDOM = torch.Generator().manual_seed(0)
VOXELS = torch.rand(6, 16, 16, 16, generator=RANDOM)
IMAGES = torch.randint(256, (6, 2, 64, 64, 3), generator=RANDOM, dtype=torch.uint8)
SAMPLES = torch.rand(4, 200, 4, generator=RANDOM) - 0.5
GAN = dataclasses.replace(
    gan3d.small(), z_dim=4, channels=4, discriminator_channels=4, side=16, steps=4, batch=4, average=0.5
)


def deepsdf_run(out: Path, device: torch.device) -> Iterable[nn.Module]:
    config = deepsdf.DeepSDFTraining(
        DecoderSpec(latent_size=4, dims=(16,) * 4, latent_in=(2,), norm_layers=(0, 1)), steps=4, shapes_per_step=2,
        points_per_shape=16,
    )  # fmt: skip
    return (train_deepsdf(config, out, SAMPLES, device=device)[0],)


def gan3d_run(out: Path, device: torch.device) -> Iterable[nn.Module]:
    return (train_gan3d(GAN, out, VOXELS, device=device),)


def image_to_shape_run(out: Path, device: torch.device) -> Iterable[nn.Module]:
    config = dataclasses.replace(image_to_shape.starter(), gan=GAN, encoder_channels=4, steps=4, batch=4)
    return image_to_shape.train(config, out, IMAGES, VOXELS, device=device)


def hologan_run(out: Path, device: torch.device) -> Iterable[nn.Module]:
    network = HoloGANConfig(z_dim=4, constant_channels=8, volume_channels=(8, 6), projected=16, image_channels=(8, 8))
    config = HoloGANTraining(generator=network, discriminator_channels=4, steps=2, batch=2)
    images = IMAGES.flatten(0, 1).permute(0, 3, 1, 2).contiguous()
    options = RunOptions(device=device, progress=lambda *_: None)
    return (train_hologan(config, TrainingImages(images, PosePrior(radius=4.0, fov=0.5)), None, options).generator,)


def solid_object_run(out: Path, device: torch.device) -> Iterable[nn.Module]:
    fit = solid_object.SolidFit("graf", 2, device=device)
    fit.advance()
    again = solid_object.SolidFit("graf", 2, device=device)
    again.restore(fit.tensors())
    again.advance()
    return (again.network,)


RUNS: dict[str, Callable[[Path, torch.device], Iterable[nn.Module]]] = {
    "deepsdf": deepsdf_run,
    "gan3d": gan3d_run,
    "image-to-shape": image_to_shape_run,
    "hologan": hologan_run,
    "solid-object": solid_object_run,
}


@pytest.mark.parametrize("kind", ["cuda", REAL_CUDA])
@pytest.mark.parametrize("recipe", RUNS)
def test_a_recipe_trains_on_a_device_as_on_the_cpu(recipe: str, kind: str, tmp_path: Path) -> None:
    def weights(modules: Iterable[nn.Module]) -> list[Tensor]:
        return [value.detach() for module in modules for value in module.parameters()]

    expected = weights(RUNS[recipe](tmp_path / "cpu", torch.device("cpu")))
    with device_of(kind) as device:
        found = weights(RUNS[recipe](tmp_path / "there", device))
        assert {value.device.type for value in found} == {device.type}
        found = [value.cpu() for value in found]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 if kind == "cuda" else 2e-2)


@pytest.mark.parametrize("kind", ["cuda", REAL_CUDA])
def test_a_run_resumes_on_another_device(kind: str, tmp_path: Path) -> None:
    image = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(0))
    config = Memorisation(size=8, frequencies=3, depth=2, width=16, steps=6, pixels_per_step=32)
    whole = memorise(image, config)
    state = tmp_path / "state.safetensors"
    memorise(image, dataclasses.replace(config, steps=3), state)
    with device_of(kind) as device:
        resumed = memorise(image, config, state, device=device)
    # the cosine decay of the first three steps was that of a shorter run
    assert resumed.device.type == "cpu" and (resumed - whole).abs().max() < 0.1
