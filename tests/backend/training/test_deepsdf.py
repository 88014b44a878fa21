"""Training of DeepSDF: it learns, resumes after a kill, and its samples follow the paper."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from backend.generators.deepsdf.mesh_distance import MeshDistance
from backend.generators.deepsdf.model import DecoderSpec
from backend.training.data import chairs
from backend.training.deepsdf.config import DeepSDFTraining, official, small
from backend.training.deepsdf.export import bounds_of, choose_partners, is_one_piece, model_from_checkpoint
from backend.training.deepsdf.train import train

TINY = DeepSDFTraining(
    DecoderSpec(latent_size=4, dims=(32,) * 4, latent_in=(2,), norm_layers=(0, 1, 2, 3)),
    steps=500,
    shapes_per_step=4,
    points_per_shape=128,
    decoder_rate=5e-3,
    code_rate=1e-2,
    rate_warmup=10,
)


def _spheres(num_shapes: int = 4) -> Tensor:
    """Spheres of growing radius. [num_shapes, N, 4]"""
    random = torch.Generator().manual_seed(0)
    radius = torch.linspace(0.3, 0.6, num_shapes)[:, None]
    directions = torch.nn.functional.normalize(torch.randn(num_shapes, 3000, 3, generator=random), dim=-1)
    near = directions * (radius + 0.06 * torch.randn(num_shapes, 3000, generator=random))[..., None]
    points = torch.cat([near, torch.rand(num_shapes, 600, 3, generator=random) * 1.6 - 0.8], 1)
    return torch.cat([points, (points.norm(dim=-1) - radius)[..., None]], -1)


def test_a_family_of_spheres_is_learnt_with_a_code_for_each(tmp_path: Path) -> None:
    samples = _spheres()
    decoder, codes = train(TINY, tmp_path, samples)
    with torch.no_grad():
        predicted = decoder(samples[..., :3], codes).clamp(-0.1, 0.1)
    error = (predicted - samples[..., 3].clamp(-0.1, 0.1)).abs().mean()
    assert error < 0.012
    assert torch.pdist(codes).min() > 0.02  # each shape found a code of its own


class _KilledError(Exception):
    pass


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config, samples = dataclasses.replace(TINY, steps=120), _spheres()
    whole, whole_codes = train(config, tmp_path / "whole", samples)

    def die(fraction: float, text: str) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        train(config, tmp_path / "killed", samples, progress=die, checkpoint_seconds=0.0)
    again, again_codes = train(config, tmp_path / "killed", samples)
    torch.testing.assert_close(again_codes, whole_codes, rtol=0, atol=1e-6)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=1e-6)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, steps=1)
    train(config, tmp_path, _spheres())
    with pytest.raises(ValueError, match=r"another configuration \(clamp\)"):
        train(dataclasses.replace(config, clamp=0.2), tmp_path, _spheres())
    with pytest.raises(ValueError, match="the number of shapes"):
        train(config, tmp_path, _spheres(3))


def test_presets_have_the_sizes_they_state() -> None:
    assert official().decoder.dims == (512,) * 8 and official().decoder.latent_size == 256
    assert official().clamp == small().clamp == 0.1 and official().code_std == 0.01
    assert small().decoder.weight_norm and small().mirror and not official().mirror


def test_a_checkpoint_becomes_a_model_with_bounds_of_its_shapes(tmp_path: Path) -> None:
    samples = _spheres()
    train(dataclasses.replace(TINY, mirror=True), tmp_path, samples)
    model = model_from_checkpoint(tmp_path / "checkpoint.safetensors", samples, 0.5)
    assert model.metres_per_unit == 0.5 and model.mirror
    assert np.abs(np.array(model.bounds)) == pytest.approx(0.65, abs=0.05)
    low, high = np.array(bounds_of(samples, True))
    assert low[0] == -high[0]
    assert all(is_one_piece(model, code) for code in model.codes)
    choose_partners(model, candidates=3)
    assert (model.partners >= 0).all() and (model.partners != torch.arange(4)).all()


def test_samples_follow_section_5_1() -> None:
    sphere = trimesh.creation.icosphere(4, 0.5)
    samples = chairs.sample_signed_distance(MeshDistance(sphere.vertices, sphere.faces), np.random.default_rng(0))
    assert samples.shape == (2 * chairs.NEAR_SURFACE_SAMPLES + chairs.UNIFORM_SAMPLES, 4)
    expected = np.linalg.norm(samples[:, :3], axis=1) - 0.5
    assert np.abs(samples[:, 3] - expected).max() < 3e-3
    # near samples: half with a deviation of 0.05 across the surface, half with 0.0158
    near = np.abs(expected[np.abs(expected) < 0.2])
    assert np.median(near) == pytest.approx(0.0172, abs=0.003)


def test_meshes_are_normalised_as_shapenet(tmp_path: Path) -> None:
    """A box with a tall back at -x, as infinigen makes chairs: z up, facing +x."""
    seat, back = trimesh.creation.box((0.5, 0.4, 0.4)), trimesh.creation.box((0.05, 0.4, 0.9))
    back.apply_translation((-0.225, 0, 0.25))
    chair = trimesh.util.concatenate([seat, back])
    np.savez(tmp_path / "chair.npz", v=chair.vertices.astype(np.float32), f=chair.faces.astype(np.int32))
    vertices, faces, metres = chairs.canonical_mesh(tmp_path / "chair.npz")
    assert np.linalg.norm(vertices, axis=1).max() == pytest.approx(1 / 1.03, rel=1e-5)
    np.testing.assert_allclose(vertices.min(0), -vertices.max(0), atol=1e-6)
    size = (vertices.max(0) - vertices.min(0)) * metres
    assert size == pytest.approx([0.4, 0.9, 0.5], rel=1e-4)  # y up
    tall = vertices[vertices[:, 1] > vertices[:, 1].max() - 1e-3]
    assert (tall[:, 2] > 0).all()  # the back is at +z: the chair faces -z
    assert trimesh.Trimesh(vertices, faces).volume > 0  # still wound outwards
