"""HoloGAN in the world: two angles of a camera reach the network, and the rest transforms the image."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from addon.wire.errors import NotSupported, UnknownCheckpoint, UnreadableModel
from addon.wire.messages import Camera as WireCamera
from addon.wire.messages import Latent, MeshRequest, RenderRequest, SceneRef
from backend.cameras import from_wire, intrinsics_from_fov, orbit
from backend.checkpoints.convert import import_model, read_tree
from backend.generators.hologan import checkpoint
from backend.generators.hologan.model import Generator, HoloGANConfig, SameTranspose, rotate_volume
from backend.generators.hologan.scene import Facing, HoloGAN, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import model_folder, save_model
from backend.progress import silent
from backend.scenes.latents import ws_from_latent
from backend.scenes.viewpoint import nearest_in_range
from backend.tasks.mesh import mesh
from backend.tasks.render import render
from backend.tasks.workspace import Workspace
from tests.gradients import check_scene_gradients
from tests.shared import CHECKPOINTS

TINY = HoloGANConfig(
    z_dim=6, constant_channels=8, volume_channels=(6, 4), projected=12, image_channels=(8, 6), slope=0.2
)
RANGE = {"azimuth": (-1.0, 1.0), "elevation": (0.0, 0.6), "default_elevation": 0.3}


def _model(config: HoloGANConfig = TINY, **card: Any) -> HoloGAN:
    torch.manual_seed(2)
    network = Generator(config)
    with torch.no_grad():
        network.output.weight.mul_(10)
    constructor = {"network": dataclasses.asdict(config), "facing": dataclasses.asdict(Facing())}
    return load(
        "tiny",
        ModelCard("hologan", "Tiny", "", "GPL", False, constructor, pose_prior=dict(RANGE), **card),
        network.state_dict(),
    )


def _image(model: HoloGAN, camera: WireCamera) -> Any:
    with torch.no_grad():
        return model.synthesize(ws_from_latent(model, Latent(1))).render(from_wire(camera))


def _network_image(model: HoloGAN, azimuth: float, elevation: float) -> torch.Tensor:
    z = model.sample_z(1)
    view = torch.tensor([[model.facing.front + azimuth, elevation, 1, 0, 0, 0]])
    with torch.no_grad():
        return (model.network(z, view)[0].permute(1, 2, 0) * 0.5 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("metres", [1.0, 0.6])
def test_a_camera_of_the_prior_shows_the_pixels_of_the_network(metres: float) -> None:
    model = _model(metres_per_unit=metres)
    image = _image(model, orbit(model.info, 64, azimuth=0.5, elevation=0.2))
    torch.testing.assert_close(image.rgb, _network_image(model, 0.5, 0.2), atol=2e-3, rtol=0)
    assert (image.alpha == 1).all() and image.depth.isinf().all() and image.note == ""


def test_distance_and_lens_scale_the_picture_and_roll_turns_it() -> None:
    model = _model()
    prior = model.info.pose_prior
    near = orbit(model.info, 64)
    further = dataclasses.replace(
        model.info, pose_prior=dataclasses.replace(prior, radius=2 * prior.radius)
    )  # twice as far is half as large
    small = _image(model, orbit(further, 64))
    assert small.alpha.sum() == pytest.approx(32 * 32, abs=70)
    wide = orbit(model.info, 64, fov=2 * math.atan(2 * math.tan(prior.fov / 2)))
    torch.testing.assert_close(small.rgb, _image(model, wide).rgb, atol=2e-3, rtol=0)
    upright, turned = _image(model, near), _image(model, orbit(model.info, 64, roll=math.pi / 2))
    assert min(
        float((torch.rot90(turned.rgb, k) - upright.rgb).abs().max()) for k in (1, -1)
    ) < 5e-3  # fmt: skip


def test_an_orthographic_camera_sees_it_from_its_direction() -> None:
    model = _model()
    prior = model.info.pose_prior
    camera = orbit(model.info, 64, azimuth=0.4, elevation=0.1)
    half = prior.radius * math.tan(prior.fov / 2)
    pixels = 64 / (2 * half)
    ortho = WireCamera(
        camera.world_from_camera, ((pixels, 0.0, 32.0), (0.0, pixels, 32.0), (0.0, 0.0, 1.0)), 64, 64, "orthographic"
    )
    torch.testing.assert_close(_image(model, ortho).rgb, _network_image(model, 0.4, 0.1), atol=2e-3, rtol=0)


def test_any_image_shape_shows_the_same_middle() -> None:
    model = _model()
    square = _image(model, orbit(model.info, 64))
    camera = orbit(model.info, 64)
    wide = WireCamera(camera.world_from_camera, intrinsics_from_fov(model.info.pose_prior.fov, 100, 64), 100, 64)
    image = _image(model, wide)
    torch.testing.assert_close(image.rgb[:, 18:82], square.rgb, atol=2e-3, rtol=0)
    assert (image.alpha[:, :17] == 0).all() and (image.alpha[:, 83:] == 0).all()


def test_from_behind_the_camera_nothing_is_seen() -> None:
    model = _model()
    camera = from_wire(orbit(model.info, 32))
    matrix = camera.world_from_camera.clone()
    matrix[:3, :3] = matrix[:3, :3] @ torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    with torch.no_grad():
        image = model.synthesize(ws_from_latent(model, Latent(1))).render(
            dataclasses.replace(camera, world_from_camera=matrix)
        )
    assert (image.alpha == 0).all() and (image.rgb == 0).all()


@pytest.mark.parametrize(
    ("asked", "shown"),
    [((0.4, 0.3), (0.4, 0.3)), ((1.5, 0.3), (1.0, 0.3)), ((-3.0, 0.9), (-1.0, 0.6)), ((0.0, -0.5), (0.0, 0.0))],
)
def test_a_viewpoint_outside_the_trained_range_is_the_nearest_one_inside_and_is_noted(
    asked: tuple[float, float], shown: tuple[float, float]
) -> None:
    model = _model()
    assert nearest_in_range(*asked, model.info.pose_prior) == pytest.approx(shown)
    image = _image(model, orbit(model.info, 64, azimuth=asked[0], elevation=asked[1]))
    torch.testing.assert_close(image.rgb, _network_image(model, *shown), atol=2e-3, rtol=0)
    assert bool(image.note) == (asked != shown)
    if image.note:
        assert "azimuth -57° to 57°" in image.note and f"{math.degrees(asked[0]):.0f}°" in image.note


def test_all_round_no_azimuth_is_outside() -> None:
    prior = dataclasses.replace(_model().info.pose_prior, azimuth=(-math.pi, math.pi))
    for azimuth in (-4.0, -math.pi, 0.0, 3.0, math.pi, 9.0):
        assert nearest_in_range(azimuth, 0.3, prior) == (azimuth, 0.3)


def test_the_note_reaches_the_user(data: Path, backend_command: Any, tmp_path: Path) -> None:
    model = _model()
    card = ModelCard(
        "hologan", "Tiny", "", "GPL", False,
        {"network": dataclasses.asdict(TINY), "facing": dataclasses.asdict(Facing())}, pose_prior=dict(RANGE),
    )  # fmt: skip
    save_model(data / "models" / "tiny", card, model.network.state_dict())
    workspace = Workspace("cpu")
    behind = render(RenderRequest(SceneRef("tiny"), orbit(model.info, 16, azimuth=3.0)), silent, workspace)
    front = render(RenderRequest(SceneRef("tiny"), orbit(model.info, 16)), silent, workspace)
    assert "Tiny was never trained on this viewpoint" in behind.note and front.note == ""
    _, out, said = backend_command("generate", "tiny", "--yaw", 170, "--size", 16, "--out", tmp_path / "behind.png")
    assert "never" not in out  # once, on stderr
    assert "Tiny was never trained on this viewpoint (azimuth 170°, elevation 17°)" in said.replace("\n", " ")
    assert "never" not in backend_command("generate", "tiny", "--size", 16, "--out", tmp_path / "front.png")[2]


def test_there_is_no_field_and_no_mesh_and_the_remedy_says_what_to_do(data: Path) -> None:
    model = _model()
    scene = model.synthesize(ws_from_latent(model, Latent(1)))
    assert not scene.info.has_surface and not model.info.has_surface
    with pytest.raises(NotSupported, match="Fit a radiance field to its views") as raised:
        scene.field(torch.zeros(3, 3))
    assert raised.value.remedy is not None and raised.value.remedy.action == "fit_views"
    card = ModelCard(
        "hologan", "Tiny", "", "GPL", False,
        {"network": dataclasses.asdict(TINY), "facing": dataclasses.asdict(Facing())},
    )  # fmt: skip
    save_model(data / "models" / "tiny", card, model.network.state_dict())
    with pytest.raises(NotSupported, match="Fit a radiance field") as raised:
        mesh(MeshRequest(SceneRef("tiny")), silent, Workspace("cpu"))
    assert raised.value.remedy is not None and raised.value.remedy.value == "tiny"


def test_the_command_line_names_the_commands_that_make_a_mesh(data: Path, backend_command: Any, tmp_path: Path) -> None:
    folder = model_folder("hologan_chairs")
    status, _, said = backend_command("mesh", folder, "--out", tmp_path / "a.ply")
    assert status == 1 and all(f"`{command} " in said for command in ("views", "fit", "mesh"))


@pytest.mark.parametrize("azimuth", [0.4, 1.5])
def test_an_image_has_the_gradients_of_central_differences(azimuth: float) -> None:
    model = _model()
    model.network.double()
    camera = from_wire(orbit(model.info, 12, azimuth=azimuth, roll=0.2))  # no ray through the middle of a pixel
    weight = model.network.constant
    check_scene_gradients(
        model, model.mapping(model.sample_z(1))[0], camera, weight, lambda scene, c: scene.image(c), rel=1e-4
    )


def test_the_differentiable_image_is_the_one_that_is_rendered() -> None:
    model = _model()
    scene = model.synthesize(ws_from_latent(model, Latent(1)), differentiable=True)
    camera = from_wire(orbit(model.info, 40, azimuth=0.4, roll=0.3))
    image, rendered = scene.image(camera), scene.render(camera)
    assert torch.equal(image.rgb, rendered.rgb) and torch.equal(image.alpha, rendered.alpha)
    assert image.rgb.requires_grad is False  # neither ws nor a weight asks for gradients
    distance = image.mean_distance()
    assert float(distance[20, 20]) == pytest.approx(model.info.pose_prior.radius, rel=1e-2)
    with pytest.raises(NotSupported, match="single rays"):
        scene.trace(camera.rays())


def test_the_volume_is_geometry_and_what_follows_is_appearance() -> None:
    model = _model()
    parts = {
        part: {id(p) for p in model.parameters_for(part)} for part in ("geometry", "appearance", "late layers", "all")
    }
    assert not parts["geometry"] & parts["appearance"] and parts["late layers"] < parts["appearance"]
    assert parts["geometry"] | parts["appearance"] == parts["all"] == {id(p) for p in model.network.parameters()}
    assert torch.equal(model.mean_ws(), model.mapping(model.sample_z(3), truncation_psi=0.0)[0])


def test_the_first_row_shapes_the_volume_and_the_second_the_picture() -> None:
    model = _model()
    ws = ws_from_latent(model, Latent(1, 2, mix_appearance=1.0))
    assert torch.equal(ws[0], model.sample_z(1)[0]) and torch.equal(ws[1], model.sample_z(2)[0])
    volume = model.synthesize(ws).volume
    torch.testing.assert_close(volume, model.network.volume(model.sample_z(1)))
    other = model.synthesize(ws_from_latent(model, Latent(1))).network_image(torch.tensor([0.0, 0.3]))
    assert not torch.allclose(model.synthesize(ws).network_image(torch.tensor([0.0, 0.3])), other)


def test_a_rigid_turn_of_the_volume_is_trilinear_and_empty_outside() -> None:
    """Against a resampling written out voxel by voxel."""
    random = torch.Generator().manual_seed(0)
    volume = torch.randn(1, 2, 6, 6, 6, generator=random)
    view = torch.tensor([[1.1, 0.4, 0.9, 0.3, -0.2, 0.1]])
    from backend.generators.hologan.model import volume_transform

    inverse = torch.linalg.inv(volume_transform(view, 6))[0]
    expected = torch.zeros_like(volume)
    for z in range(6):
        for y in range(6):
            for x in range(6):
                place = (inverse @ torch.tensor([x, y, z, 1.0]))[:3]
                if not ((place >= 0) & (place < 5)).all():
                    continue
                low = place.floor().long()
                part = place - low
                for corner in range(8):
                    i, j, k = corner & 1, corner >> 1 & 1, corner >> 2
                    weight = torch.stack((1 - part, part))[[i, j, k], [0, 1, 2]].prod()
                    expected[0, :, z, y, x] += weight * volume[0, :, low[2] + k, low[1] + j, low[0] + i]
    torch.testing.assert_close(rotate_volume(volume, view), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (3, 1), (4, 2), (4, 1), (1, 1)])
def test_a_transposed_convolution_is_cropped_as_same_padding_crops_it(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = SameTranspose(2, 3, 2, kernel, stride)
    x = torch.randn(1, 3, 5, 5)
    full = F.conv_transpose2d(x, layer.weight, layer.bias, stride=stride)
    total = max(4 * stride + kernel - 5 * stride, 0)
    start = total // 2
    expected = full[..., start : start + 5 * stride, start : start + 5 * stride]
    torch.testing.assert_close(layer(x), expected)


def test_the_official_checkpoint_is_imported(tmp_path: Path) -> None:
    card = import_model(CHECKPOINTS / "hologan_ckpt", tmp_path / "model")
    assert card.kind == "hologan" and card.non_commercial
    model = load_model(tmp_path / "model")
    assert isinstance(model, HoloGAN) and not model.info.has_surface and model.info.image_size == 64
    tree = read_tree(CHECKPOINTS / "hologan_ckpt")
    constant = tree["generator/g_w_constant/w"]  # type: ignore[index]
    assert torch.equal(model.network.constant, constant.permute(3, 0, 1, 2))
    scene = model.synthesize(ws_from_latent(model, Latent(3)))
    with torch.no_grad():
        image = scene.render(from_wire(orbit(model.info, 64)))
    assert image.rgb.isfinite().all() and image.rgb.std() > 0.01


def test_a_checkpoint_that_lacks_a_layer_or_has_one_of_another_width_is_refused() -> None:
    tree: dict[str, Any] = dict(read_tree(CHECKPOINTS / "hologan_ckpt"))  # type: ignore[call-overload]
    assert checkpoint.recognise(tree)
    for name in ("generator/g_h2/biases", "generator/g_z1/w"):
        fewer = {key: value for key, value in tree.items() if key != name}
        with pytest.raises(UnknownCheckpoint, match="missing"):
            checkpoint.convert(fewer, Path("model"))
    tree["generator/g_z1/biases"] = torch.zeros(3)
    with pytest.raises(UnknownCheckpoint, match=r"is \[3\] instead of"):
        checkpoint.convert(tree, Path("model"))


@pytest.mark.parametrize("side", [32, 256])
def test_a_checkpoint_of_another_resolution_is_refused_with_the_published_ones(side: int) -> None:
    layers = side.bit_length() - 5  # 2D convolutions; the release has 2 at 64²
    tree: dict[str, Any] = {"generator/g_w_constant/w": torch.zeros(4, 4, 4, 8)}
    tree["generator/g_w_constant/g_z0/w"] = torch.zeros(6, 16)
    for i in range(1, layers + 5):
        tree[f"generator/g_h{i}/weights"] = torch.zeros(*[3] * (3 if i < 3 else 2), 8, 8)
    with pytest.raises(UnknownCheckpoint, match=f"makes images of {side}².* 64² and 128²"):
        checkpoint.convert(tree, Path("model"))


def test_weights_of_another_resolution_are_refused(tmp_path: Path) -> None:
    larger = dataclasses.replace(TINY, image_channels=(8, 6, 4))
    card = ModelCard(
        "hologan", "t", "", "GPL", False,
        {"network": dataclasses.asdict(larger), "facing": dataclasses.asdict(Facing())},
    )  # fmt: skip
    save_model(tmp_path / "tiny", card, Generator(TINY).state_dict())
    with pytest.raises(UnreadableModel, match="does not fit together"):
        load_model(tmp_path / "tiny")
