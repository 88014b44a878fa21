"""Visual Object Networks in the world: shape, viewpoint and texture, each alone; official files; textures."""

from __future__ import annotations

import io
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch import Tensor

from addon.wire.errors import NotSupported, UnknownCheckpoint, UnreadableFile
from addon.wire.messages import Latent, MeshRequest, RenderRequest, SceneRef, TransferTextureRequest
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import detect, import_model
from backend.generators.von import checkpoint
from backend.generators.von.model import TextureNetwork
from backend.generators.von.scene import VON, VONConfig, VONScene, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import model_folder, save_model
from backend.progress import silent
from backend.scenes.latents import ws_from_latent
from backend.scenes.protocol import Image
from backend.service import tasks
from backend.tasks.workspace import Workspace
from tests.gradients import agreement, check_scene_gradients
from tests.parity.oracle import read_set
from tests.shared import CHECKPOINTS, ORACLES

TINY = VONConfig(
    shape_dim=4, shape_widths=(6, 4), texture_dim=3, texture_width=4, blocks=1, encoder_width=4, image_size=32,
    samples_per_pixel=2.0,
)  # fmt: skip
PRIOR = {"azimuth": (-1.0, 1.0), "elevation": (0.0, 0.7), "default_elevation": 0.3}


def _solid(z: Tensor) -> Tensor:
    """A box whose lengths follow the code, and a bump to the left of its front, [N, 16, 16, 16]."""
    ticks = torch.linspace(-1, 1, 16)
    left, front, up = torch.meshgrid(ticks, ticks, ticks, indexing="ij")
    made = []
    for code in z:
        lengths = 0.45 + 0.2 * torch.tanh(code[:3])
        box = (left.abs() < lengths[0]) & (front.abs() < lengths[1]) & (up.abs() < lengths[2])
        bump = (left - 0.3).abs().maximum((up - 0.1).abs()).maximum((front - 0.5).abs()) < 0.3
        made.append((box | bump).float())
    return torch.stack(made)


def _card(config: VONConfig = TINY, **fields: object) -> ModelCard:
    prior = {k: list(v) if isinstance(v, tuple) else v for k, v in PRIOR.items()}
    constructor = {**asdict(config), "shape_widths": list(config.shape_widths)}
    return ModelCard("von", "Tiny", "", "GPL", False, constructor, pose_prior=prior, **fields)  # type: ignore[arg-type]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> VON:
    """A tiny model with random textures and known shapes."""
    torch.manual_seed(5)
    untrained = VON(TINY)
    with torch.no_grad():
        untrained.texture.output.conv.weight.mul_(4)
    monkeypatch.setattr(VON, "voxels", lambda self, z: _solid(z))
    return load("tiny", _card(), untrained.state_dict())


def _scene(model: VON, latent: Latent) -> VONScene:
    return model.synthesize(ws_from_latent(model, latent))


def _view(model: VON, latent: Latent, azimuth: float = 0.4, elevation: float = 0.3, size: int = 32) -> Image:
    return _scene(model, latent).render(
        from_wire(orbit(model.info, size, azimuth=azimuth, elevation=elevation)), quality="full"
    )


def test_the_texture_seed_changes_no_bit_of_silhouette_and_depth(model: VON) -> None:
    one, other = _view(model, Latent(1, 2)), _view(model, Latent(1, 2, mix_appearance=1.0))
    assert torch.equal(one.alpha, other.alpha) and torch.equal(one.depth, other.depth)
    assert one.normal is not None and other.normal is not None and torch.equal(one.normal, other.normal)
    assert (one.rgb - other.rgb)[one.alpha > 0].abs().mean() > 0.01
    sketches = [_scene(model, latent).sketch(0.4, 0.3) for latent in (Latent(1, 2), Latent(1, 2, mix_appearance=1.0))]
    assert torch.equal(sketches[0].silhouette, sketches[1].silhouette)


def test_the_shape_seed_changes_no_bit_of_the_texture_code(model: VON) -> None:
    one, other = _scene(model, Latent(1, 2)), _scene(model, Latent(1, 2, mix_geometry=1.0))
    assert torch.equal(one.z_texture, other.z_texture)
    assert not torch.equal(one.voxels, other.voxels)


def test_the_viewpoint_changes_neither_code(model: VON) -> None:
    scene = _scene(model, Latent(3))
    before = scene.voxels.clone(), scene.z_texture.clone()
    for azimuth in (-0.8, 0.0, 0.8):
        scene.render(from_wire(orbit(model.info, 16, azimuth=azimuth)))
    assert torch.equal(scene.voxels, before[0]) and torch.equal(scene.z_texture, before[1])


def test_a_camera_of_the_prior_sees_the_painting_pixel_by_pixel(model: VON) -> None:
    scene = _scene(model, Latent(3))
    image = scene.render(from_wire(orbit(model.info, 32, azimuth=-0.5, elevation=0.2)))
    painting = scene.painting(-0.5, 0.2)
    inside = (image.alpha == 1) & (painting.silhouette > 0.99)
    assert inside.sum() > 60
    top, bottom, first, last = painting.box.tolist()
    rows = (torch.arange(32) - top) / (bottom - top) * 31
    columns = (torch.arange(32) - first) / (last - first) * 31
    grid = torch.stack(torch.broadcast_tensors(columns[None], rows[:, None]), -1) / 31 * 2 - 1
    expected = torch.nn.functional.grid_sample(painting.rgb[None], grid[None], align_corners=True)[0].permute(1, 2, 0)
    torch.testing.assert_close(image.rgb[inside], expected[inside], atol=5e-3, rtol=0)


def _soft_ball(z: Tensor) -> Tensor:
    """An ellipsoid whose radii follow the code, with a soft border, [N, 16, 16, 16]."""
    ticks = torch.linspace(-1, 1, 16).to(z)
    place = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), -1)
    radii = 0.55 + 0.2 * torch.tanh(z[:, None, None, None, :3])
    return torch.sigmoid(12 * (1 - (place / radii).norm(dim=-1)))


def test_an_image_has_the_gradients_of_central_differences(model: VON, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VON, "voxels", lambda self, z: _soft_ball(z))
    model.double()
    camera = from_wire(orbit(model.info, 11, azimuth=0.37, elevation=0.31, roll=0.05))
    weight = model.texture.encoder[0].conv.weight  # type: ignore[union-attr]
    ws = model.mapping(model.sample_z(1))[0]
    check_scene_gradients(model, ws, camera, weight, lambda scene, c: scene.image(c), rel=1e-4, step=1e-7)  # type: ignore[arg-type]


def test_the_differentiable_image_is_the_one_that_is_rendered(model: VON, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VON, "voxels", lambda self, z: _soft_ball(z))
    ws = model.mapping(model.sample_z(1))[0].requires_grad_(True)
    scene = model.synthesize(ws, differentiable=True)
    camera = from_wire(orbit(model.info, 48, azimuth=0.4, elevation=0.3))
    rendered, image = scene.render(camera), scene.image(camera)
    assert agreement(image, rendered) > scene.info.trace_psnr and scene.info.image_space
    assert image.rgb.requires_grad and not rendered.rgb.requires_grad
    assert not model.synthesize(ws).image(camera).rgb.requires_grad
    with pytest.raises(NotSupported, match="single rays"):
        scene.trace(camera.rays())


def test_gradients_reach_both_networks_through_a_sketch() -> None:
    torch.manual_seed(5)
    model = load("tiny", _card(), VON(TINY).state_dict())
    with torch.no_grad():
        model.shape.output.weight.mul_(30)
    for weight in model.parameters_for("all"):
        weight.requires_grad_(True)
    scene = model.synthesize(model.mapping(model.sample_z(1))[0], differentiable=True)
    scene.image(from_wire(orbit(model.info, 24))).rgb.sum().backward()
    for part in ("geometry", "appearance", "late layers"):
        gradients = [p.grad for p in model.parameters_for(part)]  # type: ignore[arg-type]
        assert all(g is not None and bool(g.isfinite().all()) for g in gradients)
        assert sum(float(g.abs().sum()) for g in gradients if g is not None) > 0
    assert model.encoder is not None and all(p.grad is None for p in model.encoder.parameters())


def test_the_sketch_and_the_rendered_surface_are_of_one_place(model: VON) -> None:
    scene = _scene(model, Latent(3))
    for azimuth in (-0.9, 0.3):
        image = scene.render(from_wire(orbit(model.info, 32, azimuth=azimuth, elevation=0.5)))
        sketch = scene.sketch(azimuth, 0.5)
        both = (image.alpha == 1) & (sketch.silhouette[0] > 0.99)
        assert both.sum() > 60
        metres = sketch.depth[0] * model.half_edge
        assert float((metres - image.depth)[both].abs().median()) < 1.0 / 15  # a voxel: the sketch is blurred
        seen, certain = image.alpha > 0.5, sketch.silhouette[0] > 0.5
        assert (seen & ~certain).sum() <= 0.02 * seen.sum()  # the outline of a sketch lies up to a voxel outside
        places = torch.stack(torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij"), -1).float()
        torch.testing.assert_close(places[certain].mean(0), places[seen].mean(0), atol=0.8, rtol=0)


def test_a_viewpoint_outside_the_trained_range_is_painted_from_the_nearest_with_a_note(model: VON) -> None:
    scene = _scene(model, Latent(3))
    inside = scene.render(from_wire(orbit(model.info, 32, azimuth=0.9, elevation=0.6)))
    assert inside.note == ""
    outside = scene.render(from_wire(orbit(model.info, 32, azimuth=1.6, elevation=-0.4)))
    assert "azimuth 92°" in outside.note and "-57° to 57°" in outside.note
    assert outside.alpha.sum() > 50  # the surface itself is seen from where the camera is
    assert [round(float(x), 4) for x in scene.painting(1.0, 0.0).view] == [1.0, 0.0]


def test_the_note_reaches_the_result_of_a_request(model: VON, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(data / "models" / "tiny", _card(), model.state_dict())
    shared = Workspace("cpu")
    camera = orbit(shared.generator("tiny").info, 16, azimuth=3.0)
    result = tasks.run("render", RenderRequest(SceneRef("tiny"), camera), silent, shared)
    assert "never trained on this viewpoint" in result.note


def test_the_mesh_has_the_colours_that_the_paintings_show(
    model: VON, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_height(self: TextureNetwork, sketch: Tensor, z: Tensor) -> Tensor:
        rows = torch.linspace(1, -1, sketch.shape[-1])[:, None].expand(len(sketch), 3, -1, sketch.shape[-1])
        return rows * torch.tensor([1.0, -1.0, 0.0])[:, None, None]

    monkeypatch.setattr(TextureNetwork, "forward", by_height)
    save_model(data / "models" / "tiny", _card(), model.state_dict())
    shared = Workspace("cpu")
    made = tasks.run("mesh", MeshRequest(SceneRef("tiny", Latent(3)), resolution=24), silent, shared)
    assert made.colors is not None
    height, red = made.vertices[:, 2], made.colors[:, 0].astype(float)
    assert np.corrcoef(height, red)[0, 1] > 0.9
    assert np.abs(made.colors[:, 2].astype(float) - 128).max() < 3
    textured = tasks.run(
        "mesh",
        MeshRequest(SceneRef("tiny", Latent(3)), resolution=16, color="texture", texture_size=64),
        silent,
        shared,
    )
    assert textured.texture is not None and textured.uvs is not None
    assert textured.texture[..., 0].std() > 20


def test_half_a_scene_can_be_cropped_away(model: VON) -> None:
    scene = _scene(model, Latent(3))
    half = scene.within(((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)))
    camera = from_wire(orbit(model.info, 32))
    assert 0.2 < float(half.render(camera).alpha.sum() / scene.render(camera).alpha.sum()) < 0.8


def test_an_empty_shape_is_rendered_as_nothing(model: VON, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VON, "voxels", lambda self, z: torch.zeros(len(z), 16, 16, 16))
    image = _view(model, Latent(1))
    assert image.alpha.max() == 0 and image.depth.isinf().all()


# ---------------------------------------------------------------------------------------------------- official files


def test_the_official_networks_are_imported(tmp_path: Path) -> None:
    folder = CHECKPOINTS / "von"
    assert detect(folder) == "von"
    card = import_model(folder, tmp_path / "von")
    assert card.kind == "von" and card.non_commercial and "research" in card.licence
    model = load_model(tmp_path / "von", "cpu")
    assert isinstance(model, VON) and model.encoder is not None
    official = torch.load(folder / "latest_net_G_AB.pth", weights_only=True)
    sketch, z = torch.rand(1, 1, 32, 32) * 2 - 1, torch.randn(1, model.config.texture_dim)
    expected = checkpoint.texture_network(official)(sketch, z)
    torch.testing.assert_close(model.texture(sketch, z), expected, atol=0, rtol=0)
    assert _view(model, Latent(1), 0.3, 0.2, 64).rgb.isfinite().all()


def _official(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        shutil.copy(CHECKPOINTS / "von" / f"latest_net_{name}.pth", folder)
    return folder


def test_without_the_encoder_no_textures_are_taken(tmp_path: Path) -> None:
    import_model(_official(tmp_path / "car_vox", "G_3D", "G_AB"), tmp_path / "out")
    model = load_model(tmp_path / "out", "cpu")
    assert isinstance(model, VON) and model.encoder is None and model.info.capabilities == ()


def test_a_folder_named_df_holds_distance_fields(tmp_path: Path) -> None:
    card = import_model(_official(tmp_path / "chair_df", "G_3D", "G_AB", "E"), tmp_path / "out")
    assert card.constructor["distances"] and "distance fields" in card.card


@pytest.mark.parametrize("names", [("G_3D",), ("G_AB",), ("E",), ("G_3D", "E")])
def test_a_network_alone_asks_for_the_folder(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder = _official(tmp_path / "some", *names)
    assert detect(folder) == "von"
    with pytest.raises(UnknownCheckpoint, match="Choose the folder"):
        import_model(folder, tmp_path / "out")


def test_voxels_of_another_resolution_are_refused(tmp_path: Path) -> None:
    folder = _official(tmp_path / "some", "G_AB")
    weights = torch.load(CHECKPOINTS / "von" / "latest_net_G_3D.pth", weights_only=True)
    torch.save({k: v for k, v in weights.items() if not k.startswith("block_2")}, folder / "latest_net_G_3D.pth")
    with pytest.raises(UnknownCheckpoint, match="2 blocks for 32³ voxels"):
        import_model(folder, tmp_path / "out")
    renamed = {k.replace("toRGB_32", "toRGB_64"): v for k, v in weights.items()}
    torch.save(renamed, folder / "latest_net_G_3D.pth")
    with pytest.raises(UnknownCheckpoint, match="3 blocks for 64³ voxels"):
        import_model(folder, tmp_path / "out")


def test_a_tensor_too_many_is_refused(tmp_path: Path) -> None:
    folder = _official(tmp_path / "some", "G_3D")
    weights = torch.load(CHECKPOINTS / "von" / "latest_net_G_AB.pth", weights_only=True)
    torch.save({**weights, "dec.block_3.conv.weight": torch.zeros(2)}, folder / "latest_net_G_AB.pth")
    with pytest.raises(UnknownCheckpoint, match="has no place"):
        import_model(folder, tmp_path / "out")


def test_a_distance_field_is_projected_as_the_release_does() -> None:
    oracle = read_set(ORACLES / "von_df.safetensors")
    weights = oracle.weights_under("G_3D.")
    network = checkpoint.shape_network(weights)
    config = replace(TINY, shape_dim=10, shape_widths=(24, 12, 6), distances=True)
    model = VON(config)
    model.shape = network
    z = oracle.inputs["z_shape"].flatten(1)
    made = model.voxels(z)
    raw = network(z)
    assert made.shape == raw.shape and float(made[raw.max(-1).values.max(-1).values.max(-1).values < 0.9].sum()) == 0


# ------------------------------------------------------------------------------------------------ textures of pictures


def _png(size: tuple[int, int] = (50, 40), alpha: int = 255) -> bytes:
    pixels = np.zeros((*size, 4), np.uint8)
    pixels[10:30, 12:32] = (200, 40, 40, alpha)
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def test_a_texture_moves_to_another_shape_and_leaves_its_silhouette(model: VON, data: Path) -> None:
    save_model(data / "models" / "tiny", _card(), model.state_dict())
    shared = Workspace("cpu")
    picture = shared.blobs.put(_png())
    found = tasks.run("transfer_texture", TransferTextureRequest("tiny", Latent(7), picture), silent, shared)
    assert found.ws.shape == (2, 4) and found.notes and found.seen.shape == (32, 32, 3)
    camera = orbit(shared.generator("tiny").info, 32)
    plain = tasks.run("render", RenderRequest(SceneRef("tiny", Latent(7)), camera), silent, shared)
    dressed = tasks.run("render", RenderRequest(SceneRef("tiny", Latent(code=found.code)), camera), silent, shared)
    np.testing.assert_array_equal(plain.depth, dressed.depth)
    np.testing.assert_array_equal(plain.rgba[..., 3], dressed.rgba[..., 3])
    assert np.abs(plain.rgba[..., :3] - dressed.rgba[..., :3]).max() > 0.001
    pixels = torch.from_numpy(found.seen.astype(np.float32) / 255).permute(2, 0, 1)[None]
    loaded = shared.generator("tiny")
    assert isinstance(loaded, VON)
    torch.testing.assert_close(torch.from_numpy(found.ws[1:, :3]), loaded.texture_code(pixels), atol=2e-2, rtol=0)


def test_a_bad_picture_is_refused(model: VON, data: Path) -> None:
    save_model(data / "models" / "tiny", _card(), model.state_dict())
    shared = Workspace("cpu")
    for bytes_, sentence in ((b"hello", "cannot be read"), (_png(alpha=0), "Nothing is seen")):
        picture = shared.blobs.put(bytes_)
        with pytest.raises(UnreadableFile, match=sentence):
            tasks.run("transfer_texture", TransferTextureRequest("tiny", Latent(7), picture), silent, shared)
    with pytest.raises(ValueError, match="images must be"):
        model.texture_code(torch.zeros(1, 3, 16, 16))


def test_a_model_that_reads_no_textures_says_so(shapes_model: str) -> None:
    shared = Workspace("cpu")
    with pytest.raises(NotSupported, match="no texture encoder"):
        tasks.run(
            "transfer_texture", TransferTextureRequest(shapes_model, Latent(), shared.blobs.put(_png())), silent, shared
        )


def test_the_field_of_view_of_the_prior_is_that_of_the_sketches(model: VON) -> None:
    prior = model.info.pose_prior
    assert math.tan(prior.fov / 2) == pytest.approx(0.612 * 32 / 31)
    assert prior.radius == pytest.approx(2.0 * model.half_edge)
    assert model.info.code_names == ("Shape", "Texture") and model.info.num_geometry_ws == 1


# ----------------------------------------------------------------------------------------------------- starter model


def test_the_starter_model_makes_chairs_whose_seeds_act_alone() -> None:
    folder = model_folder("von_chairs")
    assert (folder / "model.safetensors").stat().st_size < 12 << 20
    model = load_model(folder, "cpu")
    assert isinstance(model, VON) and model.info.licence.startswith("GPL")
    plain, dressed, other = (
        _view(model, latent, 0.6, 0.3, 48)
        for latent in (Latent(0, 1), Latent(0, 1, mix_appearance=1.0), Latent(0, 1, mix_geometry=1.0))
    )
    assert torch.equal(plain.alpha, dressed.alpha) and torch.equal(plain.depth, dressed.depth)
    assert (plain.rgb - dressed.rgb)[plain.alpha > 0].abs().mean() > 0.03
    assert not torch.equal(plain.alpha, other.alpha)
    for image in (plain, other):  # a chair: it fills a part of the picture, and stands in its middle
        assert 0.08 < float((image.alpha > 0.5).float().mean()) < 0.5
        rows, columns = torch.nonzero(image.alpha > 0.5).float().mean(0).tolist()
        assert abs(columns - 23.5) < 5 and abs(rows - 23.5) < 7
