"""EG3D in the world, and from its official file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from addon.wire.errors import UnknownCheckpoint
from backend.cameras import Camera, from_wire, orbit
from backend.checkpoints.convert import import_model, read_tree
from backend.generators.eg3d import checkpoint, model
from backend.generators.eg3d.model import (
    EG3D,
    SUPERRESOLUTIONS,
    BackboneConfig,
    EG3DConfig,
    MappingConfig,
    RenderingConfig,
)
from backend.generators.eg3d.scene import WORLD_FROM_CANONICAL, EG3DGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from tests.gradients import agreement, check_gradients, check_scene_gradients
from tests.parity.oracle import read_set
from tests.shared import SHARED

SET = SHARED / "oracles" / "eg3d.safetensors"
SNAPSHOT = SHARED / "oracles" / "checkpoints" / "eg3d_network-snapshot-000000.pkl"


def tiny(**changes: object) -> EG3DConfig:
    sr = dataclasses.replace(SUPERRESOLUTIONS["SuperresolutionHybrid2X"], input_resolution=16, channels=(8, 6))
    config = EG3DConfig(
        superresolution=sr,
        z_dim=8,
        w_dim=16,
        decoder_width=16,
        mapping=MappingConfig(num_layers=2),
        backbone=BackboneConfig(resolution=16, channel_base=128, channel_max=8),
        rendering=RenderingConfig(depth_resolution=8, depth_resolution_importance=8, neural_resolution=12),
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def generator(config: EG3DConfig, metres_per_unit: float = 1.0) -> EG3DGenerator:
    torch.manual_seed(0)
    network = EG3D(config)
    constructor = json.loads(json.dumps(dataclasses.asdict(config)))
    card = ModelCard("eg3d", "tiny", "", "none", False, constructor, metres_per_unit=metres_per_unit)
    return load("tiny", card, network.state_dict())


def ws_of(g: EG3DGenerator, seed: int = 1) -> Tensor:
    return g.mapping(g.sample_z(seed))[0]


@pytest.fixture(scope="module")
def official() -> tuple[EG3DGenerator, Tensor, Camera, Tensor]:
    """The official network as a generator, its ws, its camera in the world, and its image [H, W, 3] in 0..1."""
    oracle = read_set(SET)
    network = checkpoint.network_from_official(oracle.meta["constructor_kwargs"], oracle.weights)
    resolution = oracle.meta["neural_rendering_resolution"]
    rendering = dataclasses.replace(network.config.rendering, neural_resolution=resolution)
    config = dataclasses.replace(network.config, rendering=rendering)
    card = ModelCard("eg3d", "official", "", "none", False, json.loads(json.dumps(dataclasses.asdict(config))))
    c, size = oracle.inputs["c"][0], oracle.expected["det_image"].shape[-1]
    pose = torch.tensor(WORLD_FROM_CANONICAL) @ c[:16].reshape(4, 4)
    camera = Camera(pose, c[16:].reshape(3, 3) * torch.tensor([[size], [size], [1.0]]), size, size)
    image = oracle.expected["det_image"][0].permute(1, 2, 0) / 2 + 0.5
    return load("official", card, network.state_dict()), oracle.expected["ws"][0], camera, image.clamp(0, 1)


@pytest.mark.parametrize("reference", [True, False])
def test_a_world_camera_gives_the_official_picture(official, reference: bool) -> None:
    g, ws, camera, expected = official
    image = g.synthesize(ws, reference=reference).render(camera)
    assert image.rgb.shape == expected.shape
    assert float((image.rgb - expected).abs().max()) < 1e-4


def test_the_conditioning_camera_is_the_official_vector(official) -> None:
    g, _, camera, _ = official
    c = read_set(SET).inputs["c"][:1]
    assert torch.allclose(g.condition_vector(camera), c, atol=1e-5)


def test_the_front_of_the_prior_is_the_default_condition() -> None:
    g = generator(tiny(), metres_per_unit=0.3)
    front = from_wire(orbit(g.info, 64))
    assert torch.allclose(g.condition_vector(front), g.condition_vector(None), atol=1e-5)


def test_the_same_picture_comes_out_at_another_scale() -> None:
    pictures = []
    for scale in (1.0, 0.25):
        g = generator(tiny(), scale)
        image = g.synthesize(ws_of(g)).render(from_wire(orbit(g.info, 32, azimuth=0.3)))
        pictures.append((image.rgb, image.depth / scale))
        assert float(image.alpha.min()) > 0.05
    assert torch.allclose(pictures[0][0], pictures[1][0], atol=1e-4)
    assert torch.allclose(pictures[0][1], pictures[1][1], rtol=1e-3)


def test_depth_points_at_the_field_and_normals_face_the_camera() -> None:
    g = generator(tiny())
    # Opaque from the middle of the box on: raise all densities.
    with torch.no_grad():
        g.network.decoder.out.bias[0] += 40
    scene = g.synthesize(ws_of(g))
    camera = from_wire(orbit(g.info, 12))
    image = scene.render(camera)
    rays = camera.rays()
    points = rays.origins + (image.depth / rays.depth_from_distance)[..., None] * rays.directions
    assert bool((points.abs() <= 0.75).all())
    assert image.normal is not None
    assert torch.allclose(image.normal.norm(dim=-1), torch.ones(12, 12), atol=1e-4)


def test_density_is_zero_outside_the_box_and_scales_with_metres() -> None:
    small, large = generator(tiny(), 0.5), generator(tiny(), 2.0)
    points = torch.rand(50, 3) - 0.5
    first = small.synthesize(ws_of(small)).field(points * 0.5)
    second = large.synthesize(ws_of(large)).field(points * 2.0)
    assert torch.allclose(first.value * 0.5, second.value * 2.0, atol=1e-5)
    assert first.rgb is not None
    assert torch.equal(small.synthesize(ws_of(small)).field(torch.tensor([[0.3, 0.0, 0.0]])).value, torch.zeros(1))


@pytest.fixture
def held_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fine samples by the first weights always: where they are drawn is not differentiated."""
    first: list[Tensor] = []

    def importance_distances(distances: Tensor, weights: Tensor, u: Tensor) -> Tensor:
        first.append(weights.detach())
        return original(distances, first[0], u)

    original = model.importance_distances
    monkeypatch.setattr(model, "importance_distances", importance_distances)


PIXELS = {
    "image": lambda scene, camera: scene.image(camera),
    "trace": lambda scene, camera: scene.trace(camera.rays()),
}


@pytest.mark.parametrize("made_by", PIXELS)
def test_pixels_have_the_gradients_of_central_differences(held_samples: None, made_by: str) -> None:
    g = generator(tiny())
    g.network.double()
    camera = from_wire(orbit(g.info, 12, azimuth=0.3))
    weight = g.network.backbone.blocks["b8"].conv1.weight
    check_scene_gradients(g, ws_of(g), camera, weight, PIXELS[made_by], rel=1e-5)


def test_the_field_has_the_gradients_of_central_differences() -> None:
    g = generator(tiny())
    g.network.double()
    ws = ws_of(g).requires_grad_(True)
    points = ((torch.rand(5, 3, dtype=torch.float64) - 0.5) * 0.9).requires_grad_(True)
    check_gradients(
        lambda: g.synthesize(ws, differentiable=True).field(points).value.square().sum(),
        {"ws": ws, "points": points},
        rel=1e-6,
    )


@pytest.mark.parametrize("path", ["fast", "reference"])
def test_the_differentiable_image_is_the_one_that_is_rendered(official, path: str) -> None:
    g, ws, camera, _ = official
    rendered = g.synthesize(ws, reference=path == "reference").render(camera)
    image = g.synthesize(ws, differentiable=True).image(camera)
    assert agreement(image, rendered) > 80
    assert torch.allclose(image.alpha, rendered.alpha, atol=1e-4)
    depth = image.mean_distance() * camera.rays().depth_from_distance
    shown = rendered.depth.isfinite()
    assert torch.allclose(depth[shown], rendered.depth[shown], rtol=1e-2)


def test_single_rays_have_the_raw_colours_of_a_draft() -> None:
    g = generator(tiny())
    scene = g.synthesize(ws_of(g))
    camera = from_wire(orbit(g.info, 12, azimuth=0.3))
    draft, traced = scene.render(camera, quality="draft", samples_per_ray=16), scene.trace(camera.rays(), samples=16)
    assert torch.allclose(traced.rgb, draft.rgb, atol=1e-4)  # of which a draft is not premultiplied
    assert torch.allclose(traced.alpha, draft.alpha, atol=1e-4)


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
    assert g.mean_ws().shape == (g.info.num_ws, g.info.w_dim)
    assert torch.allclose(g.mean_ws(), g.mapping(g.sample_z(3), truncation_psi=0.0)[0])


def test_the_fast_path_agrees_with_the_straightforward_one() -> None:
    g = generator(tiny())
    camera = from_wire(orbit(g.info, 32, azimuth=-0.2, elevation=0.1))
    fast = g.synthesize(ws_of(g)).render(camera)
    slow = g.synthesize(ws_of(g), reference=True).render(camera)
    assert torch.allclose(fast.rgb, slow.rgb, atol=1e-4)
    assert torch.allclose(fast.alpha, slow.alpha, atol=1e-4)
    assert torch.allclose(fast.depth, slow.depth, atol=1e-4)


@pytest.mark.parametrize("size", [(20, 32), (32, 20), (7, 7)])
@pytest.mark.parametrize("quality", ["draft", "full"])
def test_any_image_shape_is_rendered(size: tuple[int, int], quality) -> None:
    g = generator(tiny())
    width, height = size
    square = from_wire(orbit(g.info, max(size)))
    intrinsics = square.intrinsics.clone()
    intrinsics[0, 2], intrinsics[1, 2] = width / 2, height / 2
    camera = dataclasses.replace(square, intrinsics=intrinsics, width=width, height=height)
    scene = g.synthesize(ws_of(g))
    image = scene.render(camera, quality=quality)
    assert image.rgb.shape == (height, width, 3)
    whole = scene.render(square, quality=quality).rgb
    top, left = (max(size) - height) // 2, (max(size) - width) // 2
    assert torch.allclose(image.rgb, whole[top : top + height, left : left + width], atol=1e-5)


def test_jitter_changes_the_picture_and_its_seed_repeats_it() -> None:
    g = generator(tiny())
    scene, camera = g.synthesize(ws_of(g)), from_wire(orbit(g.info, 32))
    pictures = [scene.render(camera, jitter=torch.Generator().manual_seed(seed)).rgb for seed in (1, 1, 2)]
    assert torch.equal(pictures[0], pictures[1])
    assert not torch.equal(pictures[0], pictures[2])


def test_rays_start_at_the_box_where_no_range_was_trained() -> None:
    rendering = dataclasses.replace(tiny().rendering, ray_start=None, ray_end=None)
    g = generator(tiny(rendering=rendering))
    image = g.synthesize(ws_of(g)).render(from_wire(orbit(g.info, 16)))
    shown = image.depth[image.depth.isfinite()]
    assert len(shown)
    assert float(shown.min()) > 2.7 - 0.9
    assert float(shown.max()) < 2.7 + 0.9


def test_ws_of_another_shape_is_refused() -> None:
    g = generator(tiny())
    with pytest.raises(ValueError, match="ws must be"):
        g.synthesize(torch.zeros(3, 16))


def test_the_snapshot_is_recognised_and_its_averaged_weights_give_the_official_picture(
    official, tmp_path: Path
) -> None:
    _, ws, camera, expected = official
    assert checkpoint.recognise(read_tree(SNAPSHOT))
    card = import_model(SNAPSHOT, tmp_path / "model")
    assert (card.kind, card.non_commercial) == ("eg3d", True)
    g = load_model(tmp_path / "model")
    assert isinstance(g, EG3DGenerator)
    image = g.synthesize(ws).render(camera)
    assert float((image.rgb - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["decoder.net.2.bias", "backbone.mapping.w_avg"])
def test_a_missing_tensor_is_named(name: str) -> None:
    oracle = read_set(SET)
    weights = {k: v for k, v in oracle.weights.items() if k != name}
    with pytest.raises(UnknownCheckpoint, match="is missing"):
        checkpoint.network_from_official(oracle.meta["constructor_kwargs"], weights)


# Modules that only enlarge take larger features as they are.
@pytest.mark.parametrize(
    ("kind", "rays"),
    [(k, n) for k, c in sorted(SUPERRESOLUTIONS.items()) for n in ((12, 40) if c.shrink else (12, 16))],
)
def test_every_superresolution_makes_its_size(kind: str, rays: int) -> None:
    sr = dataclasses.replace(SUPERRESOLUTIONS[kind], input_resolution=16, channels=(6, 5))
    network = EG3D(tiny(superresolution=sr))
    image = network.superresolution(torch.rand(2, 32, rays, rays), torch.randn(2, 6, 16))
    assert image.shape == (2, 3, sr.resolutions[1], sr.resolutions[1])


@pytest.mark.parametrize("architecture", ["orig", "skip", "resnet"])
def test_every_backbone_architecture_makes_planes(architecture) -> None:
    backbone = dataclasses.replace(tiny().backbone, architecture=architecture)
    network = EG3D(tiny(backbone=backbone))
    planes = network.backbone(torch.randn(2, network.backbone.num_ws, 16))
    assert planes.shape == (2, 3, 32, 16, 16)
