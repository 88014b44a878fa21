"""The generator: signed distances, renders of them, import, and the starter model."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from addon.wire.errors import Cancelled, NotSupported, UnknownCheckpoint, UnreadableModel
from backend.cameras import Camera, from_wire, intrinsics_from_fov, look_at, orbit
from backend.checkpoints.convert import import_model
from backend.generators.deepsdf.model import Decoder, DecoderSpec
from backend.generators.deepsdf.scene import (
    WORLD_FROM_CANONICAL,
    DeepSDF,
    DeepSDFScene,
    constructor_of,
)
from backend.generators.deepsdf.sphere_tracing import EmptySpace, trace
from backend.generators.layers.code_distribution import gaussian_of_codes
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import model_folder, save_model
from tests.gradients import agreement, check_scene_gradients
from tests.shared import CHECKPOINTS

TINY = DecoderSpec(latent_size=4, dims=(16,) * 4, latent_in=(2,), norm_layers=(0, 1, 2, 3))
SOFAS = CHECKPOINTS / "deepsdf_sofas"


class SphereScene(DeepSDFScene):
    """A sphere of half a canonical unit in place of the network; everything else is the real scene."""

    def _sdf(self, points: Tensor) -> Tensor:
        return points.norm(dim=-1) - 0.5


def _model(**arguments: object) -> DeepSDF:
    torch.manual_seed(0)
    model = DeepSDF(TINY, num_codes=6, rank=3, **arguments)  # type: ignore[arg-type]
    model.codes.copy_(0.3 * torch.randn(6, 4))
    model.fit_gaussian()
    return model


def _camera(side: int, distance: float = 3.0, fov: float = 0.5) -> Camera:
    world_from_camera = torch.tensor(look_at((0.0, -distance, 0.0), (0.0, 0.0, 0.0)), dtype=torch.float32)
    return Camera(world_from_camera, torch.tensor(intrinsics_from_fov(fov, side, side)), side, side)


@pytest.fixture(scope="module")
def starter() -> DeepSDF:
    model = load_model(model_folder("deepsdf_chairs"))
    assert isinstance(model, DeepSDF)
    return model


# ---------------------------------------------------------------------------------------------------------- the decoder


def test_the_official_network_has_the_layers_of_the_paper() -> None:
    decoder = Decoder(DecoderSpec())
    shapes = [tuple(getattr(decoder, f"lin{i}").weight.shape) for i in range(9)]
    assert shapes == [
        (512, 259), (512, 512), (512, 512), (253, 512), (512, 512), (512, 512), (512, 512), (512, 512), (1, 512),
    ]  # fmt: skip


def test_dropout_and_code_dropout_act_in_training_only() -> None:
    spec = dataclasses.replace(TINY, dropout=(0, 1, 2, 3), dropout_prob=0.5, latent_dropout=True)
    decoder = Decoder(spec)
    points, code = torch.randn(50, 3), torch.randn(4)
    decoder.train()
    assert not torch.equal(decoder(points, code), decoder(points, code))
    decoder.eval()
    assert torch.equal(decoder(points, code), decoder(points, code))


def test_training_path_without_dropout_is_the_kernel() -> None:
    decoder = Decoder(dataclasses.replace(TINY, dropout=(1,), dropout_prob=0.0)).train()
    points, codes = torch.randn(2, 50, 3), torch.randn(2, 4)
    through_layers = decoder(points, codes)
    torch.testing.assert_close(through_layers, decoder.eval()(points, codes), rtol=0, atol=2e-6)


def test_a_layer_without_room_for_the_skip_is_refused() -> None:
    with pytest.raises(ValueError, match="has no room for 7 skip inputs"):
        Decoder(dataclasses.replace(TINY, dims=(16, 7, 16, 16)))


# --------------------------------------------------------------------------------------------------------------- codes


def test_the_gaussian_has_the_covariance_of_the_codes() -> None:
    torch.manual_seed(1)
    codes = torch.randn(200, 5) @ torch.randn(5, 5) + 3
    mean, factor = gaussian_of_codes(codes, 5)
    torch.testing.assert_close(mean, codes.mean(0))
    torch.testing.assert_close(factor.T @ factor, torch.cov(codes.T), rtol=1e-3, atol=1e-3)


def test_a_seed_is_one_shape_and_psi_zero_is_the_mean() -> None:
    model = _model()
    assert torch.equal(model.sample_z(5), model.sample_z(5))
    assert not torch.equal(model.sample_z(5), model.sample_z(6))
    torch.testing.assert_close(model.mapping(model.sample_z(5), truncation_psi=0.0)[0, 0], model.code_mean)
    assert model.mapping(torch.randn(2, 3, 3)).shape == (2, 3, 1, 4)


def test_codes_without_partner_are_never_near_a_draw() -> None:
    model = _model()
    model.partners.fill_(-1)
    model.partners[2] = 4
    middle = (model.codes[2] + model.codes[4]) / 2
    for seed in range(5):
        drawn = model.code_mean + model.sample_z(seed) @ model.code_factor
        torch.testing.assert_close(model.mapping(model.sample_z(seed))[:, 0], torch.lerp(middle[None], drawn, 0.05))


def test_a_mirrored_model_is_symmetric() -> None:
    model = _model(mirror=True)
    points = torch.randn(40, 3)
    flipped = points * torch.tensor([-1.0, 1.0, 1.0])
    assert torch.equal(model.sdf(points, model.codes[0]), model.sdf(flipped, model.codes[0]))


# --------------------------------------------------------------------------------------------------------------- scene


def test_world_from_canonical_is_a_rotation_with_up_up_and_the_front_in_front() -> None:
    rotation = torch.tensor(WORLD_FROM_CANONICAL)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3))
    assert torch.linalg.det(rotation) == 1
    assert (rotation @ torch.tensor([0.0, 1.0, 0.0])).tolist() == [0, 0, 1]
    assert (rotation @ torch.tensor([0.0, 0.0, -1.0])).tolist() == [0, -1, 0]


def test_a_field_is_metres_truncated_and_differentiable() -> None:
    model = _model(metres_per_unit=2.0)
    scene = SphereScene(model, model.codes[0])
    points = torch.tensor([[0.0, 0.0, 1.04], [0.0, 0.0, 0.0], [1.9, 0.0, 0.0]], requires_grad=True)
    value = scene.field(points).value
    torch.testing.assert_close(value, torch.tensor([0.04, -0.2, 0.2]))
    value.sum().backward()
    torch.testing.assert_close(points.grad, torch.tensor([[0.0, 0.0, 1.0], [0.0] * 3, [0.0] * 3]))
    assert scene.info.clamp == pytest.approx(0.2)
    assert scene.field(torch.zeros(0, 3)).value.shape == (0,)


@pytest.mark.parametrize("metres", [0.5, 1.0, 2.0])
def test_a_sphere_is_drawn_where_it_is(metres: float) -> None:
    model = _model(metres_per_unit=metres, lipschitz=1.1)
    side, distance = 65, 3.0 * metres
    camera = _camera(side, distance)
    image = SphereScene(model, model.codes[0]).render(camera)
    rays = camera.rays()
    # analytic: the nearer root of |o + s d| = r
    b = (rays.origins * rays.directions).sum(-1)
    inside = b.square() - (distance**2 - (0.5 * metres) ** 2)
    s = -b - inside.clamp(min=0).sqrt()
    clear = inside.abs() > 0.02 * metres**2
    assert torch.equal((image.alpha > 0.5)[clear], (inside > 0)[clear])
    hit = inside > 0.06 * metres**2  # at the rim a pixel spans much depth
    torch.testing.assert_close(image.depth[hit], (s * rays.depth_from_distance)[hit], rtol=0, atol=2e-3 * metres)
    normal = torch.nn.functional.normalize(rays.origins + s[..., None] * rays.directions, dim=-1)
    assert ((image.normal * normal).sum(-1)[hit] > 0.999).all()  # type: ignore[operator]
    empty = clear & (inside < 0)
    assert image.depth[empty].isinf().all() and (image.normal[empty] == 0).all()  # type: ignore[index]


@pytest.mark.parametrize("distance", [1e3, 3e4])
def test_a_camera_a_thousand_sizes_away_sees_the_sphere_and_ends(distance: float) -> None:
    """The step past an empty cell is smaller there than the spacing of float32 at that distance."""
    model = _model(lipschitz=1.1)
    image = SphereScene(model, model.codes[0]).render(_camera(33, distance, 2 * math.atan(0.8 / distance)))
    y, x = torch.meshgrid(torch.arange(33) - 16.0, torch.arange(33) - 16.0, indexing="ij")
    radius = (x * x + y * y).sqrt() * 1.6 / 33
    assert ((image.alpha > 0.5) == (radius < 0.5))[(radius - 0.5).abs() > 0.05].all()
    hit = radius < 0.4
    depth = distance - (0.25 - radius.square()).clamp(min=0).sqrt()
    assert (image.depth - depth)[hit].abs().max() < 5e-3 + 2e-7 * distance


def test_silhouettes_are_smooth_in_full_quality_only() -> None:
    model = _model()
    scene = SphereScene(model, model.codes[0])
    full = scene.render(_camera(40))
    partial = (full.alpha > 0) & (full.alpha < 1)
    assert 20 < partial.sum() < 400
    area = math.pi * (0.5 / math.sqrt(3.0**2 - 0.5**2) / math.tan(0.25) * 20) ** 2
    assert full.alpha.sum().item() == pytest.approx(area, rel=0.01)


def test_the_same_view_is_the_same_picture_and_jitter_moves_it() -> None:
    model = _model()
    scene = SphereScene(model, model.codes[0])
    first, second = (scene.render(_camera(24)) for _ in range(2))
    assert torch.equal(first.rgb, second.rgb) and torch.equal(first.depth, second.depth)
    moved = scene.render(_camera(24), jitter=torch.Generator().manual_seed(0))
    assert not torch.equal(moved.depth, first.depth)


@pytest.mark.parametrize("quality", ["draft", "full"])
@pytest.mark.parametrize("size", [(1, 1), (7, 3), (33, 20)])
def test_odd_sizes_keep_their_shape(quality: str, size: tuple[int, int]) -> None:
    model = _model()
    camera = dataclasses.replace(_camera(33), width=size[0], height=size[1])
    image = SphereScene(model, model.codes[0]).render(camera, quality=quality)  # type: ignore[arg-type]
    assert image.rgb.shape == (size[1], size[0], 3)
    assert image.alpha.shape == image.depth.shape == (size[1], size[0])
    assert image.rgb.isfinite().all() and (image.alpha >= 0).all() and (image.alpha <= 1).all()


def test_an_orthographic_camera_sees_parallel() -> None:
    model = _model()
    camera = dataclasses.replace(
        _camera(40), intrinsics=torch.tensor([[20.0, 0, 20], [0, 20.0, 20], [0, 0, 1]]), projection="orthographic"
    )
    image = SphereScene(model, model.codes[0]).render(camera)
    assert image.alpha.sum().item() == pytest.approx(math.pi * 10**2, rel=0.02)
    assert image.depth.min().item() == pytest.approx(2.5, abs=5e-3)


def test_a_camera_that_looks_away_or_stands_inside_is_no_error() -> None:
    model = _model()
    scene = SphereScene(model, model.codes[0])
    away = _camera(8)
    away.world_from_camera[1, 3] = 9.0  # behind the sphere, looking on
    assert scene.render(away).alpha.sum() == 0
    within = _camera(8, distance=0.001)
    assert (scene.render(within).alpha == 1).all()


def test_rendering_can_be_cancelled() -> None:
    model = _model()

    def stop(fraction: float, text: str = "", preview: object = None) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        SphereScene(model, model.codes[0]).render(_camera(16), progress=stop)


def test_the_differentiable_image_is_the_one_that_is_rendered() -> None:
    model = _model()
    scene, camera = SphereScene(model, model.codes[0]), _camera(40)
    rendered = scene.render(camera)
    with torch.no_grad():
        image, single = scene.image(camera), scene.trace(camera.rays())
    assert agreement(image, rendered) > scene.info.trace_psnr
    inside = rendered.alpha == 1
    depth = image.mean_distance() * camera.rays().depth_from_distance
    torch.testing.assert_close(depth[inside], rendered.depth[inside], rtol=0, atol=3e-3)
    area = math.pi * (0.5 / math.sqrt(3.0**2 - 0.5**2) / math.tan(0.25) * 20) ** 2
    for pixels in (image, single):
        assert pixels.alpha.sum().item() == pytest.approx(area, rel=0.01)


@pytest.fixture(scope="module")
def fitted() -> DeepSDF:
    """A small decoder, in float64, of spheres whose radius is given by the code."""
    model = _model()
    model.decoder.requires_grad_(True)
    optimizer = torch.optim.Adam(model.decoder.parameters(), lr=1e-2)
    random = torch.Generator().manual_seed(0)
    for _ in range(150):
        points = torch.rand(6, 128, 3, generator=random) * 2 - 1
        distance = points.norm(dim=-1) - (0.45 + 0.2 * model.codes[:, :1])
        loss = (model.sdf(points, model.codes) - distance).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.requires_grad_(False).double()


@pytest.mark.parametrize("made_by", ["image", "trace"])
def test_pixels_have_the_gradients_of_central_differences(fitted: DeepSDF, made_by: str) -> None:
    check_scene_gradients(
        fitted,
        fitted.codes[:1],
        _camera(9),
        fitted.decoder.lin1.bias,  # type: ignore[union-attr, arg-type]
        lambda scene, camera: scene.image(camera) if made_by == "image" else scene.trace(camera.rays()),
        rel=1e-5,
        step=1e-7,
    )


def test_shapes_have_no_appearance_to_edit() -> None:
    model = _model()
    everything = {id(p) for p in model.parameters_for("all")}
    assert everything == {id(p) for p in model.parameters_for("geometry")}
    assert {id(p) for p in model.parameters_for("late layers")} < everything
    assert not everything & {id(p) for p in model.buffers()}
    with pytest.raises(NotSupported, match="without colour"):
        model.parameters_for("appearance")


def test_thin_plates_have_no_holes() -> None:
    """A plate of 0.01 seen at a slant, with a distance that is 30 % too large: every ray that meets it must stop."""

    def field(points: Tensor) -> Tensor:
        excess = (points.abs() - torch.tensor([0.6, 0.005, 0.6])).clamp(min=-0.005)
        return 1.3 * (excess.clamp(min=0).norm(dim=-1) + excess.amax(-1).clamp(max=0))

    low, high = torch.tensor([-0.8] * 3), torch.tensor([0.8] * 3)
    space = EmptySpace.of(field, low, high, 1 / 16, lipschitz=1.4, clamp=0.1)
    ys, xs = torch.meshgrid(torch.linspace(-0.5, 0.5, 41), torch.linspace(-0.4, 0.4, 41), indexing="ij")
    targets = torch.stack([xs.flatten(), torch.zeros(41 * 41), ys.flatten()], -1)
    direction = torch.nn.functional.normalize(torch.tensor([0.3, -0.25, 0.5]), dim=0)
    origins = targets - 3 * direction
    found = trace(
        field, space, origins, direction.expand_as(origins), lambda t: torch.full_like(t, 1e-3), max_steps=128
    )
    assert found.isfinite().all()
    assert (found - 3).abs().max() < 0.05


# -------------------------------------------------------------------------------------------------------------- import


def test_an_official_experiment_folder_becomes_a_model(tmp_path: Path) -> None:
    card = import_model(SOFAS, tmp_path / "sofas")
    model = load_model(tmp_path / "sofas")
    assert isinstance(model, DeepSDF)
    assert card.kind == "deepsdf" and card.source == "imported" and "MIT" in card.licence
    assert model.decoder.spec.latent_in == (4,) and model.decoder.spec.dropout == tuple(range(8))
    saved = torch.load(SOFAS / "LatentCodes" / "latest.pth", weights_only=True)["latent_codes"]["weight"]
    assert torch.equal(model.codes, saved)
    state = torch.load(SOFAS / "ModelParameters" / "latest.pth", weights_only=True)["model_state_dict"]
    for name, value in state.items():
        assert torch.equal(model.decoder.state_dict()[name.removeprefix("module.")], value)
    scene = model.synthesize(model.mapping(model.sample_z(0))[0])
    assert scene.field(torch.randn(5, 3)).value.isfinite().all()


def _copy(tmp_path: Path) -> Path:
    folder = tmp_path / "experiment"
    shutil.copytree(SOFAS, folder)
    return folder


@pytest.mark.parametrize("clamp", [math.nan, 0.0, -1.0, "wide", 1e9])
def test_a_clamp_that_is_no_distance_is_refused_and_the_older_model_stays(tmp_path: Path, clamp: object) -> None:
    import_model(SOFAS, tmp_path / "sofas")
    before = (tmp_path / "sofas/card.json").read_bytes()
    shutil.copytree(SOFAS, tmp_path / "changed")
    specs = json.loads((tmp_path / "changed/specs.json").read_text())
    (tmp_path / "changed/specs.json").write_text(json.dumps(specs | {"ClampingDistance": clamp}))
    with pytest.raises(UnknownCheckpoint, match="ClampingDistance"):
        import_model(tmp_path / "changed", tmp_path / "sofas")
    assert (tmp_path / "sofas/card.json").read_bytes() == before


def test_a_folder_with_the_legacy_files_only_is_the_same_model(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    for part in ("ModelParameters", "LatentCodes"):
        (folder / part / "latest.pth").unlink()
        (folder / part / "2000.pth").unlink()
    import_model(SOFAS, tmp_path / "new")
    import_model(folder, tmp_path / "legacy")
    new, legacy = (load_model(tmp_path / name) for name in ("new", "legacy"))
    assert isinstance(new, DeepSDF) and isinstance(legacy, DeepSDF)
    for name, value in new.state_dict().items():
        assert torch.equal(value, legacy.state_dict()[name])


def _edit_specs(folder: Path, **changes: object) -> None:
    specs = json.loads((folder / "specs.json").read_text())
    for name, value in changes.items():
        (specs["NetworkSpecs"] if name in specs["NetworkSpecs"] or name == "surprise" else specs)[name] = value
    (folder / "specs.json").write_text(json.dumps(specs))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dims": [48] * 7}, "no place|instead of"),
        ({"latent_in": [3]}, "instead of"),
        ({"weight_norm": False}, "no place"),
        ({"CodeLength": 17}, "instead of|must be"),
        ({"surprise": 1}, "does not have"),
        ({"NetworkArch": "other"}, "not one of DeepSDF"),
    ],
    ids=str,
)
def test_specs_that_do_not_fit_the_weights_are_refused(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    folder = _copy(tmp_path)
    _edit_specs(folder, **changes)
    with pytest.raises(UnknownCheckpoint, match=why):
        import_model(folder, tmp_path / "out")


def test_one_file_of_an_experiment_means_the_experiment_and_alone_asks_for_it(tmp_path: Path) -> None:
    whole = import_model(SOFAS / "ModelParameters" / "latest.pth", tmp_path / "out")
    assert whole.kind == "deepsdf"
    alone = tmp_path / "latest.pth"
    alone.write_bytes((SOFAS / "ModelParameters" / "latest.pth").read_bytes())
    with pytest.raises(UnknownCheckpoint, match="Choose the experiment's folder"):
        import_model(alone, tmp_path / "other")


def test_a_model_folder_goes_round(tmp_path: Path) -> None:
    model = _model(mirror=True, metres_per_unit=0.6, bounds=((-0.5, -0.9, -0.6), (0.5, 0.9, 0.7)))
    card = ModelCard("deepsdf", "x", "", "", False, constructor_of(model), metres_per_unit=0.6)
    save_model(tmp_path / "m", card, model.state_dict())
    again = load_model(tmp_path / "m")
    assert isinstance(again, DeepSDF)
    assert constructor_of(again) == constructor_of(model)
    points = torch.randn(9, 3)
    assert torch.equal(again.sdf(points, again.codes[1]), model.sdf(points, model.codes[1]))
    low, high = again.info.bounds
    assert low == pytest.approx((-0.3, -0.36, -0.54)) and high == pytest.approx((0.3, 0.42, 0.54))


def test_a_card_that_does_not_fit_the_weights_says_so(tmp_path: Path) -> None:
    model = _model()
    constructor = constructor_of(model) | {"num_codes": 7}
    save_model(tmp_path / "m", ModelCard("deepsdf", "x", "", "", False, constructor), model.state_dict())
    with pytest.raises(UnreadableModel):
        load_model(tmp_path / "m")


# --------------------------------------------------------------------------------------------------------- the starter


def test_the_starter_model_is_small_and_documented() -> None:
    folder = model_folder("deepsdf_chairs")
    assert (folder / "model.safetensors").stat().st_size <= 12_000_000
    assert (folder / "thumbnail.png").is_file()
    card = json.loads((folder / "card.json").read_text())["card"]
    for word in ("infinigen", "Chamfer", "seed", "not trained on", "voxel"):
        assert word in card, word


@pytest.mark.parametrize("seed", [0, 1, 8])
def test_a_starter_shape_stands_on_legs_and_has_a_seat_and_a_back(starter: DeepSDF, seed: int) -> None:
    scene = starter.synthesize(starter.mapping(starter.sample_z(seed))[0])
    low, high = (torch.tensor(corner) for corner in starter.info.bounds)
    axes = [torch.linspace(float(low[a]), float(high[a]), n) for a, n in enumerate((24, 24, 40))]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    solid = scene.field(grid).value < 0.01  # [x, y, z], about 3 cm
    filled = solid.float().mean((0, 1))  # of each height
    seat = int(filled[10:30].argmax()) + 10
    assert filled[seat] > 0.2  # a seat
    assert 0 < filled[4:8].mean() < 0.1  # legs below it
    above = solid[:, :, seat + 6 :].float()
    assert above.sum((0, 2))[12:].sum() > above.sum((0, 2))[:12].sum()  # the back stands behind, towards +y


def test_a_starter_picture_is_a_chair_in_the_middle_of_the_frame(starter: DeepSDF) -> None:
    scene = starter.synthesize(starter.mapping(starter.sample_z(0))[0])
    image = scene.render(from_wire(orbit(starter.info, 64)), quality="draft")
    assert 0.08 < image.alpha.mean() < 0.4
    for border in (image.alpha[0], image.alpha[-1], image.alpha[:, 0], image.alpha[:, -1]):
        assert border.sum() == 0
    hit = torch.isfinite(image.depth)
    radius = starter.info.pose_prior.radius
    assert (image.depth[hit] > radius - 0.7).all() and (image.depth[hit] < radius + 0.7).all()
