"""3D-GAN: its shapes, its place in the world, official files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from addon.scene import gather
from addon.wire.errors import NotSupported, UnknownCheckpoint
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import import_model
from backend.generators.gan3d import checkpoint
from backend.generators.gan3d.model import Discriminator, Generator, ImageEncoder, draw_latents
from backend.generators.gan3d.scene import GAN3D
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import model_folder, save_model
from backend.scenes.latents import ws_from_latent
from backend.training.gan3d.export import is_whole
from tests.addon.scene.test_view import Settings
from tests.gradients import agreement, check_scene_gradients
from tests.parity.oracle import read_set
from tests.shared import CHECKPOINTS, ORACLES

TINY = {"z_dim": 6, "channels": 2, "side": 16, "prior": "normal", "mirror": True, "encoder_channels": 2}


def saved(folder: Path, *, half: bool = False, metres_per_unit: float = 1.0, **changes: object) -> Path:
    """A model folder of random weights."""
    arguments = {**TINY, **changes}
    torch.manual_seed(0)
    model = GAN3D(**arguments)  # type: ignore[arg-type]
    model.generator.output.weight.data.normal_()
    tensors = model.state_dict()
    if half:
        tensors = {name: v.half() if v.is_floating_point() else v for name, v in tensors.items()}
    card = ModelCard("gan3d", "Tiny", "", "GPL-3.0-or-later", False, arguments, metres_per_unit=metres_per_unit)
    save_model(folder, card, tensors)
    return folder


def test_a_seed_is_one_shape_and_another_seed_another(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path))
    scenes = [model.synthesize(model.mapping(model.sample_z(seed))[0]) for seed in (3, 3, 4)]
    first, again, other = (scene.values for scene in scenes)  # type: ignore[attr-defined]
    assert torch.equal(first, again) and not torch.allclose(first, other, atol=1e-3)
    assert first.shape == (16, 16, 16) and 0 <= first.min() < first.max() <= 1


def test_mirrored_shapes_are_symmetric_in_the_world_s_x(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path))
    scene = model.synthesize(model.mapping(model.sample_z(1))[0])
    points = torch.rand(200, 3) - 0.5
    other = points * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(scene.field(points).value, scene.field(other).value, atol=1e-5, rtol=0)
    assert (scene.field(points).value - scene.field(points.flip(-1)).value).abs().max() > 1e-3


def test_a_latent_is_what_the_prior_gives_and_truncation_has_no_part_in_it(tmp_path: Path) -> None:
    for prior in ("uniform", "normal"):
        model = load_model(saved(tmp_path / prior, prior=prior))
        z = model.sample_z(7)
        assert not model.info.has_truncation
        assert torch.equal(model.mapping(z, truncation_psi=0.7)[0], z)
    assert draw_latents("uniform", (1000,), torch.Generator().manual_seed(0)).min() >= 0


def test_weights_stored_in_half_precision_are_computed_with_in_single(tmp_path: Path) -> None:
    whole, half = load_model(saved(tmp_path / "a")), load_model(saved(tmp_path / "b", half=True))
    ws = whole.mapping(whole.sample_z(0))[0]
    values = [model.synthesize(ws).values for model in (whole, half)]  # type: ignore[attr-defined]
    assert values[1].dtype == torch.float32
    torch.testing.assert_close(values[0], values[1], atol=0.01, rtol=0)


def test_the_cube_is_as_large_as_the_card_says(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path, half_edge=0.95, metres_per_unit=0.5))
    assert model.info.bounds == ((-0.475,) * 3, (0.475,) * 3)
    assert model.synthesize(model.sample_z(0)).info.bounds[1] == pytest.approx((0.475,) * 3)
    assert model.info.capabilities == ("image_to_shape",)


def test_without_an_encoder_there_is_nothing_to_ask_of_pictures(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path, encoder_channels=0))
    assert isinstance(model, GAN3D) and model.info.capabilities == ()
    with pytest.raises(ValueError, match="no image encoder"):
        model.encode(torch.zeros(1, 3, 64, 64))


def test_the_encoder_gives_a_latent_for_each_picture_and_wants_its_own_size(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path))
    assert isinstance(model, GAN3D)
    assert model.encode(torch.rand(3, 3, 64, 64)).shape == (3, 1, 6)
    with pytest.raises(ValueError, match=r"\[N, 3, 64, 64\]"):
        model.encode(torch.rand(3, 3, 32, 32))
    with pytest.raises(ValueError, match="multiple of 16"):
        ImageEncoder(4, 2, 40)


def test_ws_of_another_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[1, 6\]"):
        load_model(saved(tmp_path)).synthesize(torch.zeros(1, 7))


PIXELS = {
    "image": lambda scene, camera: scene.image(camera),
    "trace": lambda scene, camera: scene.trace(camera.rays()),
}


@pytest.mark.parametrize("made_by", PIXELS)
def test_pixels_have_the_gradients_of_central_differences(tmp_path: Path, made_by: str) -> None:
    model = load_model(saved(tmp_path)).double()  # type: ignore[attr-defined]
    camera = from_wire(orbit(model.info, 17))
    ws = model.mapping(model.sample_z(1))[0]
    check_scene_gradients(model, ws, camera, model.generator.layers[0][0].weight, PIXELS[made_by], rel=1e-4, step=1e-7)
    assert not model.synthesize(ws.requires_grad_(True)).values.requires_grad


def test_the_differentiable_image_of_the_starter_model_is_the_one_that_is_rendered() -> None:
    model = load_model(model_folder("gan3d_chairs"))
    scene = model.synthesize(model.mapping(model.sample_z(1))[0], differentiable=True)
    camera = from_wire(orbit(model.info, 128))
    assert agreement(scene.image(camera), scene.render(camera)) > scene.info.trace_psnr


def test_shapes_have_no_appearance_to_edit(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path))
    everything = {id(p) for p in model.parameters_for("all")}
    assert everything == {id(p) for p in model.parameters_for("geometry")}
    assert {id(p) for p in model.parameters_for("late layers")} < everything
    with pytest.raises(NotSupported, match="without colour"):
        model.parameters_for("appearance")


def test_the_latent_space_has_a_centre(tmp_path: Path) -> None:
    for prior, centre in (("uniform", 0.5), ("normal", 0.0)):
        model = load_model(saved(tmp_path / prior, prior=prior))
        assert torch.equal(model.mean_ws(), torch.full((1, 6), centre))


def test_a_spectral_discriminator_cannot_be_steep() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(2, 16, "spectral")
    for _ in range(20):  # power iterations
        discriminator.score(torch.zeros(1, 16, 16, 16))
    discriminator.eval()
    a = torch.rand(8, 16, 16, 16)
    b = a + 0.01 * torch.randn_like(a)
    slope = (discriminator.score(a) - discriminator.score(b)).abs()[:, 0] / (a - b).flatten(1).norm(dim=1)
    # the norm is that of each kernel as a matrix; its overlapping places make a convolution at most 4 x as steep
    assert slope.max() < 4.0**3


# ------------------------------------------------------------------------------------------------------- official files


def test_the_official_generator_gives_the_official_voxels(tmp_path: Path) -> None:
    import_model(CHECKPOINTS / "gan3d_G.pth", tmp_path)
    model, oracle = load_model(tmp_path), read_set(ORACLES / "gan3d.safetensors")
    assert isinstance(model, GAN3D) and model.side == 64 and model.prior == "uniform"
    official = {k.removeprefix("generator."): v for k, v in oracle.weights_under("generator.").items()}
    assert official.keys() == torch.load(CHECKPOINTS / "gan3d_G.pth", weights_only=True).keys()
    model.generator.load_state_dict(checkpoint.generator_tensors(official, model.generator))
    voxels = model.voxels(oracle.inputs["z"][:, None])
    torch.testing.assert_close(voxels[0], oracle.expected["voxels_b0"], atol=1e-5, rtol=0)
    # the last index is up: a corner of the array is that corner of the world
    scene = model.synthesize(oracle.inputs["z"][:1])
    step = 1 / 64
    at = torch.tensor([3.5, 10.5, 40.5]) * step - 0.5
    torch.testing.assert_close(scene.field(at).value, voxels[0, 3, 10, 40], atol=1e-5, rtol=0)


def official_state(side: int, prefix: str = "") -> dict[str, Tensor]:
    """A state dict as the port writes it."""
    state, depth = {}, side.bit_length() - 2
    for name, value in Generator(5, 2, side).state_dict().items():
        parts = name.split(".")
        if parts[0] == "output":
            state[f"{prefix}layer{depth}.0.weight"] = value
        else:
            state[f"{prefix}layer{int(parts[1]) + 1}.{parts[2]}.{parts[3]}"] = value
    return state


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_both_published_resolutions_are_imported(side: int, prefix: str, tmp_path: Path) -> None:
    state = official_state(side, prefix)
    torch.save(state, tmp_path / "G.pth")
    card = import_model(tmp_path / "G.pth", tmp_path / "model")
    assert card.constructor["side"] == side and card.non_commercial
    model = load_model(tmp_path / "model")
    assert isinstance(model, GAN3D)
    assert torch.equal(model.generator.output.weight, state[f"{prefix}layer{side.bit_length() - 2}.0.weight"])


@pytest.mark.parametrize("side", [16, 128])
def test_another_resolution_is_refused_with_both_numbers(side: int, tmp_path: Path) -> None:
    torch.save(official_state(side), tmp_path / "G.pth")
    with pytest.raises(UnknownCheckpoint, match=f"makes {side}³ voxels.*32³.*64³"):
        import_model(tmp_path / "G.pth", tmp_path / "model")


def test_a_missing_or_surplus_tensor_is_named(tmp_path: Path) -> None:
    state = official_state(32)
    del state["layer2.1.running_var"]
    torch.save(state, tmp_path / "G.pth")
    with pytest.raises(UnknownCheckpoint, match="running_var"):
        import_model(tmp_path / "G.pth", tmp_path / "model")
    torch.save({**official_state(32), "layer9.0.bias": torch.zeros(1)}, tmp_path / "G.pth")
    with pytest.raises(UnknownCheckpoint, match="layer"):
        import_model(tmp_path / "G.pth", tmp_path / "model")


def test_the_generator_is_found_beside_its_discriminator() -> None:
    oracle = read_set(ORACLES / "gan3d.safetensors")
    both = {"G": oracle.weights_under("generator."), "D": oracle.weights_under("discriminator.")}
    assert checkpoint.recognise(both)
    assert not checkpoint.recognise({"D": both["D"]})


def test_the_card_s_constructor_is_plain_json(tmp_path: Path) -> None:
    card = import_model(CHECKPOINTS / "gan3d_G.pth", tmp_path)
    assert json.loads(json.dumps(dataclasses.asdict(card)))["constructor"]["axes"] == "xyz"


def test_kept_codes_draw_new_latents_near_them(tmp_path: Path) -> None:
    model = GAN3D(**TINY, num_codes=3)  # type: ignore[arg-type]
    model.codes.copy_(4 * torch.eye(3, 6))
    model.partners.copy_(torch.tensor([2, -1, 0]))  # the second is never drawn
    between = (model.codes[0] + model.codes[2]) / 2
    for seed in range(8):
        z = model.sample_z(seed)
        torch.testing.assert_close(model.mapping(z)[0, 0], between + 0.1 * (z[0] - between))
    batch = torch.randn(2, 5, 6)
    assert model.mapping(batch).shape == (2, 5, 1, 6)


# ---------------------------------------------------------------------------------------------------- the starter model


def test_the_starter_model_makes_whole_upright_chairs() -> None:
    folder = model_folder("gan3d_chairs")
    assert (folder / "model.safetensors").stat().st_size < 12 << 20
    model = load_model(folder)
    assert isinstance(model, GAN3D) and "image_to_shape" in model.info.capabilities
    panel = [gather.latent(Settings(seed_a=seed, mix_geometry=0.0), model.info) for seed in range(12)]
    voxels = model.voxels(torch.stack([ws_from_latent(model, latent) for latent in panel]))
    assert all(is_whole(v.numpy()) for v in voxels[:8])
    solid = (voxels > 0.5).float().mean(0)  # z, y, x
    assert solid[:8].sum() < 0.5 * solid[8:16].sum()  # legs below, a seat above them
    front, back = solid[18:, :16].sum(), solid[18:, 16:].sum()
    assert back > 2 * front  # its back behind, on +y: it faces −y
    assert (voxels - voxels.flip(-1)).abs().max() < 1e-5
    assert not torch.allclose(voxels[0], voxels[1], atol=0.1)
