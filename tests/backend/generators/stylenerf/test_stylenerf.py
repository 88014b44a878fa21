"""StyleNeRF in the world, its options, and from its official file."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from addon.wire.errors import NotSupported, UnknownCheckpoint
from backend.cameras import Camera, from_wire, orbit
from backend.checkpoints.convert import import_model, read_tree
from backend.generators.stylenerf import checkpoint, model
from backend.generators.stylenerf.model import (
    FieldConfig,
    MappingConfig,
    RendererConfig,
    StyleNeRF,
    StyleNeRFConfig,
    UpsamplerConfig,
    background_points,
)
from backend.generators.stylenerf.scene import WORLD_FROM_CANONICAL, StyleNeRFGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from tests.gradients import agreement, check_gradients, check_scene_gradients
from tests.parity.oracle import read_set
from tests.shared import SHARED

SET = SHARED / "oracles" / "stylenerf.safetensors"
SNAPSHOT = SHARED / "oracles" / "checkpoints" / "stylenerf_network-snapshot-000000.pkl"


def tiny(**changes: object) -> StyleNeRFConfig:
    config = StyleNeRFConfig(
        z_dim=8,
        w_dim=16,
        foreground=FieldConfig(z_dim=0, feature_dim=8, hidden=8, num_layers=3),
        background=FieldConfig(z_dim=4, feature_dim=8, hidden=6, num_layers=2, inverse_sphere=True),
        mapping=MappingConfig(num_layers=2),
        renderer=RendererConfig(num_samples=6, num_background_samples=3, resolution=8),
        upsampler=UpsamplerConfig(resolutions=(16, 32), channels=(8, 4)),
        start_resolution=8,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def generator(config: StyleNeRFConfig, metres_per_unit: float = 1.0, density: float = 10.0) -> StyleNeRFGenerator:
    torch.manual_seed(0)
    network = StyleNeRF(config)
    with torch.no_grad():
        network.foreground.density.bias += density
    constructor = json.loads(json.dumps(dataclasses.asdict(config)))
    card = ModelCard("stylenerf", "tiny", "", "none", False, constructor, metres_per_unit=metres_per_unit)
    return load("tiny", card, network.state_dict())


def ws_of(g: StyleNeRFGenerator, seed: int = 1) -> Tensor:
    return g.mapping(g.sample_z(seed))[0]


@pytest.fixture(scope="module")
def official() -> tuple[StyleNeRFGenerator, Tensor, Camera, Tensor, Tensor]:
    """The official network as a generator, its ws, its camera in the world, its image in 0..1, its background code."""
    oracle = read_set(SET)
    network = checkpoint.network_from_official(oracle.meta["constructor"], oracle.weights)
    constructor = json.loads(json.dumps(dataclasses.asdict(network.config)))
    card = ModelCard("stylenerf", "official", "", "none", False, constructor)
    size = oracle.expected["img"].shape[-1]
    focal = float(1 / oracle.inputs["camera_mat"][0, 0, 0]) * size / 2
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    # Official cameras look along −z with y up.
    opencv = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pose = torch.tensor(WORLD_FROM_CANONICAL) @ oracle.inputs["world_mat"][0] @ opencv
    image = oracle.expected["img"][0].permute(1, 2, 0) / 2 + 0.5
    g = load("official", card, network.state_dict())
    return (
        g,
        oracle.expected["ws"][0],
        Camera(pose, intrinsics, size, size),
        image.clamp(0, 1),
        oracle.inputs["z_shape_bg"][:1],
    )


@pytest.mark.parametrize("reference", [True, False])
def test_a_world_camera_gives_the_official_picture(official, reference: bool) -> None:
    g, ws, camera, expected, code = official
    scene = g.synthesize(ws, reference=reference)
    scene.codes = (None, code)
    image = scene.render(camera)
    assert float((image.rgb - expected).abs().max()) < 1e-4


def test_azimuth_and_elevation_are_the_official_angles(official) -> None:
    g, _, camera, *_ = official
    x, y, z = read_set(SET).inputs["world_mat"][0, :3, 3].tolist()
    azimuth, polar = math.atan2(y, x), math.acos(z)
    ours = from_wire(orbit(g.info, 64, azimuth=azimuth, elevation=math.pi / 2 - polar))
    assert torch.allclose(ours.world_from_camera, camera.world_from_camera, atol=1e-4)
    assert torch.allclose(ours.intrinsics, camera.intrinsics, rtol=1e-4)


def test_the_same_picture_comes_out_at_another_scale() -> None:
    pictures = []
    for scale in (1.0, 0.25):
        g = generator(tiny(), scale)
        image = g.synthesize(ws_of(g)).render(from_wire(orbit(g.info, 32, azimuth=0.2)))
        pictures.append((image.rgb, image.depth / scale))
    assert torch.allclose(pictures[0][0], pictures[1][0], atol=1e-4)
    assert torch.allclose(pictures[0][1], pictures[1][1], rtol=1e-3)


def test_density_scales_with_metres() -> None:
    small, large = generator(tiny(), 0.5), generator(tiny(), 2.0)
    points = (torch.rand(50, 3) - 0.5) * 0.2
    first = small.synthesize(ws_of(small)).field(points * 0.5)
    second = large.synthesize(ws_of(large)).field(points * 2.0)
    assert torch.allclose(first.value * 0.5, second.value * 2.0, atol=1e-4)


def test_the_field_has_the_gradients_of_central_differences() -> None:
    g = generator(tiny())
    g.network.double()
    ws = ws_of(g).requires_grad_(True)
    points = ((torch.rand(50, 3, dtype=torch.float64) - 0.5) * 0.2).requires_grad_(True)
    check_gradients(
        lambda: g.synthesize(ws, differentiable=True).field(points).value.square().sum(),
        {"ws": ws, "points": points},
        rel=1e-5,
        step=1e-8,  # of points, whose encoding has waves 500 to the metre
    )


@pytest.mark.parametrize("show_background", [0.0, 1.0])
def test_an_image_has_the_gradients_of_central_differences(
    monkeypatch: pytest.MonkeyPatch, show_background: float
) -> None:
    first: list[Tensor] = []

    def importance_samples(t: Tensor, weights: Tensor, num_samples: int, u: Tensor | None = None) -> Tensor:
        first.append(weights)  # where fine samples are drawn is not differentiated: by the first weights always
        return original(t, first[0], num_samples, u)

    original = model.importance_samples
    monkeypatch.setattr(model, "importance_samples", importance_samples)
    g = generator(tiny(), density=3.0)
    g.network.double()
    controls = {"show_background": show_background}
    check_scene_gradients(
        g,
        ws_of(g),
        from_wire(orbit(g.info, 12, azimuth=0.2)),
        g.network.foreground.layers[0].weight,
        lambda scene, camera: scene.image(camera),
        controls=controls,
        rel=1e-5,
        step=1e-8,
    )


@pytest.mark.parametrize("path", ["fast", "reference"])
def test_the_differentiable_image_is_the_one_that_is_rendered(official, path: str) -> None:
    g, ws, camera, _, code = official
    scenes = g.synthesize(ws, reference=path == "reference"), g.synthesize(ws, differentiable=True)
    for scene in scenes:
        scene.codes = (None, code)
    rendered, image = scenes[0].render(camera), scenes[1].image(camera)
    assert agreement(image, rendered) > 80
    depth = image.mean_distance() * camera.rays().depth_from_distance
    shown = rendered.depth.isfinite()
    assert torch.allclose(depth[shown], rendered.depth[shown], rtol=1e-3)


def test_single_rays_have_no_colour() -> None:
    g = generator(tiny())
    scene = g.synthesize(ws_of(g))
    assert scene.info.image_space
    with pytest.raises(NotSupported, match="no colour for single rays"):
        scene.trace(from_wire(orbit(g.info, 4)).rays())


def test_rendering_a_differentiable_scene_first_does_not_cut_its_gradients() -> None:
    g = generator(tiny())
    ws = ws_of(g).requires_grad_(True)
    camera = from_wire(orbit(g.info, 12))
    scene = g.synthesize(ws, differentiable=True)
    assert not scene.render(camera).rgb.requires_grad
    (gradient,) = torch.autograd.grad(scene.image(camera).rgb.sum(), ws)
    assert float(gradient.abs().max()) > 0
    assert not g.synthesize(ws).image(camera).rgb.requires_grad


def test_each_part_has_its_own_weights_and_all_leaves_the_mapping_out() -> None:
    g = generator(tiny())
    parts = {part: {id(p) for p in g.parameters_for(part)} for part in ("geometry", "appearance", "late layers", "all")}
    assert not parts["geometry"] & parts["appearance"]
    assert parts["late layers"] < parts["appearance"]
    assert parts["geometry"] | parts["appearance"] == parts["all"]
    assert not parts["all"] & {id(p) for p in g.network.mapping_network.parameters()}
    assert torch.allclose(g.mean_ws(), g.mapping(g.sample_z(3), truncation_psi=0.0)[0])


def test_density_does_not_depend_on_the_weights_of_the_appearance() -> None:
    g = generator(tiny())
    points = (torch.rand(50, 3) - 0.5) * 0.2
    before = g.synthesize(ws_of(g)).field(points)
    with torch.no_grad():
        for weight in g.parameters_for("appearance"):
            weight.add_(0.1)
    after = g.synthesize(ws_of(g)).field(points)
    assert torch.equal(before.value, after.value)
    assert before.rgb is not None and after.rgb is not None and not torch.equal(before.rgb, after.rgb)


def test_the_background_seed_changes_the_background_alone() -> None:
    g = generator(tiny(), density=3.0)
    camera = from_wire(orbit(g.info, 32))
    first, second = (
        g.synthesize(ws_of(g), {"background_seed": seed, "show_background": 0.0}).render(camera) for seed in (0.0, 1.0)
    )
    assert not torch.allclose(first.rgb, second.rgb, atol=1e-4)
    assert torch.equal(first.alpha, second.alpha)
    assert float(first.alpha.max()) < 1
    shown = g.synthesize(ws_of(g), {"show_background": 1.0}).render(camera)
    assert torch.equal(shown.alpha, torch.ones(32, 32))


def test_background_points_lie_on_their_rays() -> None:
    torch.manual_seed(0)
    origins = torch.nn.functional.normalize(torch.randn(1, 20, 3), dim=-1) * torch.rand(1, 20, 1)
    directions = torch.nn.functional.normalize(torch.randn(1, 20, 3), dim=-1)
    points = background_points(origins, directions, torch.tensor([1.0, 0.5, 0.1]))
    world = points[..., :3] / points[..., 3:]
    offset = world - origins[..., None, :]
    along = (offset * directions[..., None, :]).sum(-1, keepdim=True)
    assert torch.allclose(offset, along * directions[..., None, :], atol=1e-4)
    assert torch.allclose(world.norm(dim=-1), 1 / points[..., 3], rtol=1e-4)


def test_a_camera_far_outside_the_sphere_gives_finite_pictures() -> None:
    g = generator(tiny())
    far = from_wire(orbit(g.info, 16, fov=2.0))
    far = dataclasses.replace(far, world_from_camera=far.world_from_camera.clone())
    far.world_from_camera[:3, 3] *= 3
    image = g.synthesize(ws_of(g)).render(far)
    assert bool(image.rgb.isfinite().all())


def test_the_fast_path_agrees_with_the_straightforward_one() -> None:
    g = generator(tiny())
    camera = from_wire(orbit(g.info, 32, azimuth=-0.2, elevation=0.1))
    fast = g.synthesize(ws_of(g)).render(camera)
    slow = g.synthesize(ws_of(g), reference=True).render(camera)
    assert torch.allclose(fast.rgb, slow.rgb, atol=1e-4)
    assert torch.allclose(fast.alpha, slow.alpha, atol=1e-4)
    assert torch.allclose(fast.depth, slow.depth, atol=1e-4)


@pytest.mark.parametrize("quality", ["draft", "full"])
@pytest.mark.parametrize("size", [(20, 32), (7, 7)])
def test_any_image_shape_is_rendered(size: tuple[int, int], quality) -> None:
    g = generator(tiny())
    camera = dataclasses.replace(from_wire(orbit(g.info, 24)), width=size[0], height=size[1])
    image = g.synthesize(ws_of(g)).render(camera, quality=quality)
    assert image.rgb.shape == (size[1], size[0], 3)
    assert image.depth.shape == (size[1], size[0])


def upsampler(**changes: object) -> UpsamplerConfig:
    return dataclasses.replace(tiny().upsampler, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"upsampler": upsampler(mode=mode)}
            for mode in ("default", "bilinear", "bicubic", "nearest", "pixelshuffle")
        ),
        {"upsampler": upsampler(kernel_size=3, use_noise=True, bilinear_image=True)},
        {"upsampler": upsampler(architecture="resnet", mode="nn_cat")},
        {"upsampler": upsampler(architecture="orig", residual_image=False)},
        {"upsampler": upsampler(single_layer=True, shared_colour_style=True, input_gain=False)},
        {"upsampler": UpsamplerConfig()},
        {"background": None, "renderer": RendererConfig(num_samples=6, resolution=8, open_end=True)},
        {"background": None, "renderer": RendererConfig(num_samples=6, resolution=8, hierarchical=False)},
        {"foreground": dataclasses.replace(tiny().foreground, skip=True, num_layers=4, append_position=True)},
        {"foreground": dataclasses.replace(tiny().foreground, encoding="gauss", gauss_features=2, colour="first")},
        {"foreground": dataclasses.replace(tiny().foreground, encoding="none", colour="none", sigmoid=True)},
        {"foreground": dataclasses.replace(tiny().foreground, z_dim=5)},
        {"camera": dataclasses.replace(tiny().camera, depth_warp="log", intervals_in_t=True)},
        {"camera": dataclasses.replace(tiny().camera, depth_warp="inverse", aligned_corners=True)},
    ],
    ids=str,
)
def test_every_option_makes_a_picture(changes: dict[str, object]) -> None:
    config = tiny(**changes)
    if config.background is None:
        config = dataclasses.replace(config, foreground=tiny().foreground)
    colourless = config.foreground.colour == "none"
    if colourless and config.background is not None:
        background = dataclasses.replace(config.background, colour="none")
        config = dataclasses.replace(config, background=background)
    g = generator(config)
    size = (config.stages or (8,))[-1]
    image = g.synthesize(ws_of(g)).render(from_wire(orbit(g.info, size)))
    assert image.rgb.shape == (size, size, 3)
    assert bool(image.rgb.isfinite().all())
    assert float(image.rgb.std()) > 0


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.75, 1.0, -1.0])
def test_training_progress_decides_the_size(alpha: float) -> None:
    torch.manual_seed(0)
    network = StyleNeRF(tiny(start_resolution=4))
    eye = torch.eye(4)[None]
    pose = eye.clone()
    pose[0, 2, 3] = 1.0
    image, rendered, _ = network(
        torch.randn(1, network.num_ws, 16), eye * 0.1, pose, (None, torch.randn(1, 4)), alpha=alpha
    )
    sizes = {0.0: (4, 4), 0.3: (8, 8), 0.75: (8, 32), 1.0: (8, 32), -1.0: (8, 32)}
    assert (rendered.shape[-1], image.shape[-1]) == sizes[alpha]


def test_the_snapshot_is_recognised_and_its_averaged_weights_give_the_official_picture(
    official, tmp_path: Path
) -> None:
    _, ws, camera, expected, code = official
    assert checkpoint.recognise(read_tree(SNAPSHOT))
    card = import_model(SNAPSHOT, tmp_path / "model")
    assert (card.kind, card.non_commercial) == ("stylenerf", True)
    g = load_model(tmp_path / "model")
    assert isinstance(g, StyleNeRFGenerator)
    scene = g.synthesize(ws)
    scene.codes = (None, code)
    assert float((scene.render(camera).rgb - expected).abs().max()) < 1e-4


def test_an_unsupported_part_is_named() -> None:
    oracle = read_set(SET)
    kwargs = json.loads(json.dumps(oracle.meta["constructor"]))
    kwargs["synthesis_kwargs"]["foreground_kwargs"]["use_viewdirs"] = True
    with pytest.raises(ValueError, match="use_viewdirs"):
        checkpoint.network_from_official(kwargs, oracle.weights)


def test_a_tensor_too_many_is_named() -> None:
    oracle = read_set(SET)
    weights = {**oracle.weights, "synthesis.fg_nerf.blocks.9.bias": torch.zeros(20)}
    with pytest.raises(UnknownCheckpoint, match="has no place"):
        checkpoint.network_from_official(oracle.meta["constructor"], weights)
