"""EditNeRF: codes of seeds and of training objects, transfer of shape and colour, the fast path, official files."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from addon.wire.errors import InvalidRequest, UnknownCheckpoint
from addon.wire.messages import Latent
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import import_model, read_tree
from backend.generators.editnerf.checkpoint import ws_of_styles
from backend.generators.editnerf.codes import fit_gaussian, rank_of
from backend.generators.editnerf.model import EditNeRF, EditNeRFConfig
from backend.generators.editnerf.scene import EditNeRFGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import model_folder
from backend.scenes.latents import ws_from_latent
from tests.shared import CHECKPOINTS

SMALL = EditNeRFConfig(
    shape_dim=5, color_dim=4, embedding_dim=6, shared_layers=2, shared_width=12, instance_layers=2, instance_width=16,
    fusion_layers=2, fusion_width=14, color_width=10, point_frequencies=3, direction_frequencies=2, num_samples=12,
    num_fine=0, image_size=16, num_codes=20, rank=(5, 4),
)  # fmt: skip


def _generator(config: EditNeRFConfig = SMALL) -> EditNeRFGenerator:
    torch.manual_seed(4)
    network = EditNeRF(config)
    with torch.no_grad():
        network.fine.density.weight.mul_(10)
        network.fine.density.bias.fill_(1.0)
        network.codes[:, 0, : config.shape_dim].normal_()
        network.codes[:, 1, : config.color_dim].normal_()
    fit_gaussian(network)
    return load("small", ModelCard("editnerf", "e", "", "MIT", False, dataclasses.asdict(config)), network.state_dict())


def test_seeds_draw_codes_with_the_mean_and_covariance_of_the_training_objects() -> None:
    generator = _generator()
    drawn = generator.mapping(torch.randn(4000, generator.info.z_dim, generator=torch.Generator().manual_seed(1)))
    for row, dim in ((0, 5), (1, 4)):
        codes = generator.network.codes[:, row, :dim]
        assert torch.allclose(drawn[:, row, :dim].mean(0), codes.mean(0), atol=0.1)
        assert torch.allclose(drawn[:, row, :dim].T.cov(), codes.T.cov(), atol=0.2)
    assert rank_of(1, 5) == 0 and rank_of(3, 5) == 2


def test_a_control_takes_the_shape_or_the_colours_of_a_training_object() -> None:
    generator = _generator()
    ws = ws_from_latent(generator, Latent(seed_a=1))
    codes = generator.network.codes
    both = generator.with_instances(ws, {"shape_of": 3.0, "color_of": 20.0})
    assert torch.equal(both, torch.stack((codes[2, 0], codes[19, 1])))
    half = generator.with_instances(ws, {"shape_of": 3.0, "instance_mix": 0.5})
    assert torch.allclose(half[0], (codes[2, 0] + ws[0]) / 2) and torch.equal(half[1], ws[1])
    with pytest.raises(InvalidRequest, match="Shape of is 21, but the model has training objects 1 to 20"):
        generator.synthesize(ws, {"shape_of": 21.0})


def test_the_colour_code_changes_colour_alone() -> None:
    generator = _generator()
    ws = ws_from_latent(generator, Latent(seed_a=1))
    points = torch.rand(50, 3) * 2 - 1
    first, second = (generator.synthesize(ws, {"color_of": of}).field(points) for of in (4.0, 5.0))
    assert torch.equal(first.value, second.value)
    assert not torch.equal(first.rgb, second.rgb)  # type: ignore[arg-type]


def test_the_fast_path_agrees_with_the_reference() -> None:
    generator = _generator()
    scene = generator.synthesize(ws_from_latent(generator, Latent(seed_a=1)))
    camera = from_wire(orbit(generator.info, 16, azimuth=0.4, elevation=0.3))
    fast, reference = (scene.render(camera, reference=reference) for reference in (False, True))
    assert scene.fast_field() is not None and float(reference.alpha.mean()) > 0.2
    for ours, theirs in ((fast.rgb * fast.alpha[..., None], reference.rgb * reference.alpha[..., None]),
                         (fast.alpha, reference.alpha)):  # fmt: skip
        assert float((ours - theirs).abs().max()) < 5e-3


def test_outside_its_extent_a_field_is_empty_on_both_paths() -> None:
    generator = _generator(dataclasses.replace(SMALL, extent=0.5))
    scene = generator.synthesize(ws_from_latent(generator, Latent(seed_a=1)))
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    inside = (points.abs() <= 0.5).all(-1)
    density = scene.field(points).value
    assert float(density[inside].min()) > 0 and float(density[~inside].max()) == 0
    fast = scene.fast_field()
    assert fast is not None and torch.allclose(fast.raw_density(points).clamp(min=0), density, atol=1e-4)


def test_an_official_file_is_imported_with_its_instances(tmp_path: Path) -> None:
    import_model(CHECKPOINTS / "editnerf_1000000.tar", tmp_path / "model")
    generator = load_model(tmp_path / "model")
    assert isinstance(generator, EditNeRFGenerator)
    styles = read_tree(CHECKPOINTS / "editnerf_1000000.tar")["styles"]  # type: ignore[index]
    assert torch.equal(generator.network.codes, ws_of_styles(generator.network.config, styles))
    assert generator.info.controls[0].maximum == len(styles)


def test_sampling_is_read_from_the_options_beside_an_official_file(tmp_path: Path) -> None:
    shutil.copy(CHECKPOINTS / "editnerf_1000000.tar", tmp_path)
    (tmp_path / "args.txt").write_text("blender_near = 1.5\nblender_far = 7.5\nN_samples = 9\nwhite_bkgd = False\n")
    import_model(tmp_path / "editnerf_1000000.tar", tmp_path / "model")
    config = load_model(tmp_path / "model").network.config  # type: ignore[union-attr]
    assert (config.near, config.far, config.num_samples, config.white_background) == (1.5, 7.5, 9, False)


def test_a_checkpoint_without_its_codes_is_refused(tmp_path: Path) -> None:
    tree = dict(read_tree(CHECKPOINTS / "editnerf_1000000.tar"))  # type: ignore[call-overload]
    torch.save({key: value for key, value in tree.items() if key != "styles"}, tmp_path / "1.tar")
    with pytest.raises(UnknownCheckpoint, match="holds no styles"):
        import_model(tmp_path / "1.tar", tmp_path / "model")


def test_the_starter_draws_objects_on_an_empty_background_and_transfers_colours() -> None:
    generator = load_model(model_folder("editnerf_chairs"))
    camera = from_wire(orbit(generator.info, 24, azimuth=0.4))
    ws = ws_from_latent(generator, Latent(seed_a=4, truncation_psi=0.7))
    first, second = (generator.synthesize(ws, {"color_of": of}).render(camera) for of in (2.0, 4.0))
    assert float(first.alpha[0].max()) < 0.1 and 0.1 < float(first.alpha.mean()) < 0.6
    assert torch.equal(first.alpha, second.alpha) and float((first.rgb - second.rgb).abs().max()) > 0.2
