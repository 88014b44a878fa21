"""Every model's scene is differentiable: in the latent, in the camera and in its weights, as central differences say.

`CASES` has an entry for every model, ours and imported (the official checkpoints, whose networks are tiny). A case
says how to make the generator, and where it differs from others. Derivatives are compared along random directions in
float64.

Fine samples of hierarchical sampling are held where they first fell: their weights are detached on purpose (see
`sampling.inverse_cdf`), so that central differences would see a movement that gradients do not.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from addon.wire.errors import NotSupported
from backend.bench.generators import make_eg3d, make_stylenerf
from backend.cameras import Camera, from_wire, orbit
from backend.checkpoints.convert import import_model
from backend.generators import MODELS, importable_kinds
from backend.generators.deepsdf.model import DecoderSpec
from backend.generators.deepsdf.scene import DeepSDF
from backend.generators.deepsdf.scene import constructor_of as deepsdf_constructor
from backend.generators.deepsdf.scene import load as load_deepsdf
from backend.generators.editnerf.model import EditNeRF, EditNeRFConfig
from backend.generators.editnerf.scene import load as load_editnerf
from backend.generators.graf.model import GRAF, GRAFConfig
from backend.generators.graf.scene import load as load_graf
from backend.generators.hologan.model import Generator as HoloGANNetwork
from backend.generators.hologan.model import HoloGANConfig
from backend.generators.hologan.scene import Facing
from backend.generators.hologan.scene import load as load_hologan
from backend.generators.pigan.model import PiGAN, PiGANConfig
from backend.generators.pigan.scene import load as load_pigan
from backend.generators.shadegan.model import ShadeGAN, ShadeGANConfig
from backend.generators.shadegan.scene import load as load_shadegan
from backend.generators.stylesdf.model import StyleSDF, StyleSDFConfig
from backend.generators.stylesdf.scene import load as load_stylesdf
from backend.kernels.hash_encoding import HashSpec
from backend.kernels.ray_marching import OccupancyBits, Samples
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import model_folder
from backend.nerf.hash.field import HashField, HashFieldConfig
from backend.nerf.hash.scene import load as load_hash_field
from backend.nerf.mlp.network import NeRF, NetworkConfig, RenderConfig
from backend.nerf.mlp.scene import BLENDER_BOUNDS, constructor_of
from backend.nerf.mlp.scene import load as load_nerf
from backend.rendering import sampling
from backend.scenes.generator import Generator, Part
from backend.scenes.placed import PlacedScene
from backend.scenes.trace import RayColors
from tests.shared import CHECKPOINTS

STEPS = (1e-6, 1e-7, 1e-8, 1e-9)
"""Halves of the steps of central differences, of which the best counts: within a longer one a density may set in,
within a shorter one rounding shows. A wrong derivative agrees with none."""

# ---------------------------------------------------------------------------------------------------------------------
# The table


def cast_network(generator: Any) -> None:
    """Make all of a generator float64."""
    generator.network.double()


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, and where it differs from the others."""

    make: Callable[[], Generator]
    to_double: Callable[[Any], None] = cast_network
    size: int = 5
    """Pixels a side of the images that are differentiated; for image-space models, of what the 2D network makes."""
    compared_size: int = 24
    """Pixels a side of the images in which trace is compared with render."""
    parts: tuple[Part, ...] = ("geometry", "appearance", "late layers", "all")
    """What `parameters_for` answers; it raises NotSupported for the others."""
    colorless_parts: tuple[Part, ...] = ("appearance",)
    """Parts on which neither alpha nor distance depends."""
    unused: int = 0
    """Number of weights that the image does not depend on: of the volume's own colours, where a 2D network makes others
    from features. `trace` shows them."""
    whole_images: bool = False
    """Pixels are compared by `image`, whose lamp moves with the camera, although single rays have colours, too."""
    follows_weights: bool = True
    """A differentiable scene shows later changes of the weights; False: `synthesize` has evaluated the network."""
    random: bool = True
    """An image has something for jitter to move."""
    bounded: bool = True
    """Rays that look away from the scene are empty."""
    controls: dict[str, float] = dataclasses.field(default_factory=dict)
    rtol: float = 1e-5


def imported(name: str) -> Callable[[], Generator]:
    """Return how to make the generator of an official checkpoint."""

    def make() -> Generator:
        with TemporaryDirectory() as folder:
            import_model(CHECKPOINTS / name, Path(folder) / "model")
            return load_model(Path(folder) / "model")

    return make


def small_pigan() -> Generator:
    """A small π-GAN with a volume that hides its own far side."""
    torch.manual_seed(3)
    config = PiGANConfig(z_dim=8, hidden_dim=16, mapping_dim=16, num_layers=4, num_steps=8, image_size=16)
    network = PiGAN(config)
    with torch.no_grad():
        network.density.weight.mul_(200)
        network.density.bias.fill_(5)
        network.color.weight.mul_(30)
    return load_pigan("small", _card("pigan", config), network.state_dict())


def small_transparent_pigan() -> Generator:
    """A small π-GAN of the published options for cars: no box, no background of its own."""
    torch.manual_seed(4)
    config = PiGANConfig(
        z_dim=8, hidden_dim=16, mapping_dim=16, num_layers=4, num_steps=8, box_side=None, white_back=True,
        last_back=False, clamp="softplus", ray_start=0.7, ray_end=1.3, fov_degrees=30.0, image_size=16,
    )  # fmt: skip
    network = PiGAN(config)
    return load_pigan("small", _card("pigan", config, metres_per_unit=2.5), network.state_dict())


def small_embedding_pigan() -> Generator:
    """A small π-GAN whose points are joined by features of a learned volume."""
    torch.manual_seed(7)
    config = PiGANConfig(
        z_dim=8, hidden_dim=16, mapping_dim=16, num_layers=3, num_steps=8, embedding_channels=3,
        embedding_size=(4, 5, 6), hierarchical=False, image_size=16,
    )  # fmt: skip
    network = PiGAN(config)
    with torch.no_grad():
        network.embedding.normal_()
        network.density.weight.mul_(100)
    return load_pigan("small", _card("pigan", config), network.state_dict())


def small_graf() -> Generator:
    """A small GRAF."""
    torch.manual_seed(4)
    config = GRAFConfig(z_dim=10, appearance_dim=4, hidden_dim=16, num_samples=8, image_size=16)
    network = GRAF(config)
    with torch.no_grad():
        network.density.weight.mul_(20)
        network.color.weight.mul_(8)
    return load_graf("small", _card("graf", config, metres_per_unit=0.1), network.state_dict())


def small_editnerf() -> Generator:
    """A small EditNeRF of one field, with training objects."""
    torch.manual_seed(4)
    config = EditNeRFConfig(
        shape_dim=5, color_dim=4, embedding_dim=6, shared_layers=2, shared_width=12, instance_layers=2,
        instance_width=16, fusion_layers=2, fusion_width=14, color_width=10, point_frequencies=3,
        direction_frequencies=2, num_samples=12, num_fine=0, image_size=16, num_codes=3, rank=(2, 2),
    )  # fmt: skip
    network = EditNeRF(config)
    with torch.no_grad():
        network.fine.density.weight.mul_(10)
        network.fine.density.bias.fill_(1.0)
        network.fine.color.weight.mul_(8)
        network.codes.normal_()
        network.shape_factor.normal_()
        network.color_factor.normal_()
    return load_editnerf("small", _card("editnerf", config, metres_per_unit=0.1), network.state_dict())


def small_shadegan() -> Generator:
    """A small ShadeGAN whose albedo depends on the view."""
    torch.manual_seed(5)
    config = ShadeGANConfig(
        z_dim=8, hidden_dim=16, mapping_dim=16, num_layers=4, num_steps=6, view_condition=True, image_size=16,
        surface=None,
    )  # fmt: skip
    network = ShadeGAN(config)
    with torch.no_grad():
        network.density.weight.mul_(60)
        network.density.bias.fill_(5)
    return load_shadegan("small", _card("shadegan", config), network.state_dict())


def small_stylesdf(**changes: Any) -> Callable[[], Generator]:
    """Return how to make a small StyleSDF with other options."""

    def make() -> Generator:
        torch.manual_seed(6)
        config = StyleSDFConfig(
            style_dim=12, num_layers=3, num_samples=8, thumbnail_size=8, image_size=16, decoder_channels=(6, 4),
            decoder_style_dim=10,
        )  # fmt: skip
        config = dataclasses.replace(config, **changes)
        network = StyleSDF(config)
        return load_stylesdf("small", _card("stylesdf", config, metres_per_unit=1.5), network.state_dict())

    return make


def small_hash_field(**changes: Any) -> Callable[[], Generator]:
    """Return how to make a small hash field of noise with other options."""

    def make() -> Generator:
        random = torch.Generator().manual_seed(7)
        config = HashFieldConfig((-1.0, -1.0, -1.0), 2.0, HashSpec(4, 2, 10, 4, 32), 16, 1 / 32)
        config = dataclasses.replace(config, **changes)
        table = 0.5 * torch.randn(config.table.num_entries, config.table.num_features, generator=random)
        occupied = OccupancyBits(torch.ones(16, 16, 16, dtype=torch.bool)).bits
        tensors = {"table": table, "networks": config.networks.initial(random), "occupied": occupied}
        return load_hash_field("small", _card("hash_field", config), tensors)

    return make


def cast_hash_field(generator: Any) -> None:
    """Make a hash field float64, and hold the sample positions t of its rays where they first were."""
    field = generator.scene.hash_field
    table, networks = field.table.double(), field.networks.double()
    doubled = HashField(field.config, table, networks, field.occupancy.occupied)
    kept: list[Samples] = []

    def march(origins: Tensor, directions: Tensor, jitter: Tensor | None, *, step: float | None = None) -> Samples:
        if not kept:
            kept.append(HashField.march(doubled, origins, directions, jitter, step=step))
        rays = kept[0].rays.long()
        points = origins[rays] + kept[0].t[:, None] * directions[rays]
        return dataclasses.replace(kept[0], points=doubled.unit(points))

    doubled.march = march  # type: ignore[method-assign, assignment]
    generator.scene.hash_field = doubled


def small_nerf(**changes: Any) -> Callable[[], Generator]:
    """Return how to make a small NeRF with other options of rendering."""

    def make() -> Generator:
        torch.manual_seed(8)
        shape = NetworkConfig(depth=3, width=16, bottleneck=16, view_width=8, skips=(1,), position_frequencies=3)
        render = RenderConfig(2.0, 6.0, coarse_samples=24, fine_samples=24)
        nerf = NeRF(shape, shape, dataclasses.replace(render, **changes))
        with torch.no_grad():
            for network in (nerf.coarse, nerf.fine):
                network.density.weight.mul_(8)
                network.rgb.weight.mul_(4)
        constructor = constructor_of(shape, shape, nerf.config, BLENDER_BOUNDS)
        return load_nerf("small", ModelCard("nerf", "nerf", "", "none", False, constructor), nerf.state_dict())

    return make


def cast_nerf(generator: Any) -> None:
    """Make the networks of a NeRF float64."""
    generator.scene.nerf.double()


def small_eg3d() -> Generator:
    """A small EG3D with conditioned poses and both passes of samples."""
    torch.manual_seed(9)
    generator: Generator = make_eg3d(True, Path())
    return generator


def small_stylenerf() -> Generator:
    """A small StyleNeRF with a foreground that hides some of its background."""
    torch.manual_seed(10)
    generator = make_stylenerf(True, Path())
    with torch.no_grad():
        generator.network.foreground.density.bias += 3
        offset_biases(generator.network)
    made: Generator = generator
    return made


def small_hologan() -> Generator:
    """A small HoloGAN."""
    torch.manual_seed(2)
    config = HoloGANConfig(
        z_dim=6, constant_channels=8, volume_channels=(6, 4), projected=12, image_channels=(8, 6), slope=0.2
    )
    network = HoloGANNetwork(config)
    with torch.no_grad():
        network.output.weight.mul_(10)
        offset_biases(network)
    constructor = {"network": dataclasses.asdict(config), "facing": dataclasses.asdict(Facing())}
    return load_hologan("small", ModelCard("hologan", "", "", "none", False, constructor), network.state_dict())


def starter(name: str) -> Callable[[], Generator]:
    """Return how to load a starter model."""
    return lambda: load_model(model_folder(name))


def small_deepsdf() -> Generator:
    """A small DeepSDF of spheres whose radius depends on the code."""
    torch.manual_seed(0)
    spec = DecoderSpec(latent_size=4, dims=(16,) * 4, latent_in=(2,), norm_layers=(0, 1, 2, 3))
    model = DeepSDF(spec, num_codes=6, rank=3)
    model.codes.copy_(0.3 * torch.randn(6, 4))
    model.fit_gaussian()
    model.decoder.requires_grad_(True)
    optimizer = torch.optim.Adam(model.decoder.parameters(), lr=1e-2)
    for _ in range(200):
        points = torch.rand(6, 128, 3) * 2 - 1
        distance = points.norm(dim=-1) - (0.45 + 0.2 * model.codes[:, :1])
        loss = (model.sdf(points, model.codes) - distance).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    constructor = deepsdf_constructor(model)
    return load_deepsdf("small", ModelCard("deepsdf", "", "", "none", False, constructor), model.state_dict())


def offset_biases(network: nn.Module) -> None:
    """Move biases away from zero, where inputs that are all zero would lie on the kink of an activation."""
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.add_(0.1 * torch.randn_like(parameter))


def cast_module(generator: Any) -> None:
    """Make a generator that is its own network float64."""
    generator.double()


def _card(kind: str, config: Any, metres_per_unit: float = 1.0) -> ModelCard:
    return ModelCard(kind, kind, "", "none", False, dataclasses.asdict(config), metres_per_unit=metres_per_unit)


SHAPE: dict[str, Any] = {"parts": ("geometry", "late layers", "all"), "colorless_parts": (), "whole_images": True}
"""Of models without colour."""

CASES = {
    "graf": Case(small_graf),
    "graf-imported": Case(imported("graf_model.pt")),
    "editnerf": Case(small_editnerf, controls={"shape_of": 2.0, "instance_mix": 0.5}),
    "editnerf-imported": Case(imported("editnerf_1000000.tar")),
    "pigan": Case(small_pigan),
    "pigan-transparent": Case(small_transparent_pigan),
    "pigan-embedding": Case(small_embedding_pigan),
    "pigan-imported": Case(imported("pigan")),
    "shadegan": Case(small_shadegan, controls={"light_x": 0.5}),
    "shadegan-imported": Case(imported("shadegan_generator.pth"), controls={"light_x": 0.5}),
    "stylesdf": Case(small_stylesdf(), unused=2),
    "stylesdf-imported": Case(imported("stylesdf_full_model.pt"), unused=2),
    "stylesdf-thumbnail": Case(small_stylesdf(image_size=0)),
    "hash-field": Case(small_hash_field(), cast_hash_field),
    "hash-field-linear": Case(small_hash_field(linear=True), cast_hash_field),
    "nerf": Case(small_nerf(), cast_nerf),
    "nerf-imported": Case(imported("nerf_200000.tar"), cast_nerf, bounded=False),
    "nerf-linear": Case(small_nerf(white_background=False, linear=True, in_disparity=True), cast_nerf),
    "eg3d": Case(small_eg3d),
    "eg3d-imported": Case(imported("eg3d_network-snapshot-000000.pkl")),
    "stylenerf": Case(small_stylenerf, random=False),
    "stylenerf-foreground": Case(small_stylenerf, random=False, controls={"show_background": 0.0}),
    "stylenerf-imported": Case(imported("stylenerf_network-snapshot-000000.pkl"), random=False),
    "hologan": Case(small_hologan, size=6, random=False),  # of an odd one, a ray would meet the middle of a pixel
    "hologan-imported": Case(imported("hologan_ckpt"), size=6, random=False),
    "hologan-starter": Case(starter("hologan_chairs"), size=6, random=False),
    "von-imported": Case(imported("von"), cast_module, follows_weights=False, compared_size=96),
    "gan3d-imported": Case(imported("gan3d_G.pth"), cast_module, **SHAPE, follows_weights=False, compared_size=96),
    "deepsdf-imported": Case(imported("deepsdf_sofas"), cast_module, **SHAPE),
    "von": Case(starter("von_chairs"), cast_module, follows_weights=False, compared_size=96),
    "gan3d": Case(starter("gan3d_chairs"), cast_module, **SHAPE, follows_weights=False, compared_size=96),
    "deepsdf": Case(small_deepsdf, cast_module, **SHAPE),
    "stylesdf-density": Case(
        small_stylesdf(image_size=0, use_sdf=False, static_directions=False, force_background=False)
    ),
}

# ---------------------------------------------------------------------------------------------------------------------
# Derivatives


def test_every_model_is_in_the_table_and_so_is_every_official_file() -> None:
    # the scenes of an edited model are another model's, with a region whose border has no derivative
    assert {made(name).info.kind for name in CASES} == set(MODELS) - {"edited"}
    imports = {made(name).info.kind for name in CASES if name.endswith("-imported")}
    assert imports == {kind for kind in MODELS if kind in importable_kinds()}


@cache
def made(name: str) -> Generator:
    """Return a case's generator, made once for all tests: copy it before changing it."""
    return CASES[name].make()


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def doubled(name: str) -> Generator:
    """The generator in float64."""
    generator = copy.deepcopy(made(name))
    CASES[name].to_double(generator)
    return generator


class HeldSamples:
    """`sampling.inverse_cdf` that gives the same t, without gradients, in each evaluation after the first."""

    def __init__(self) -> None:
        self.drawn = sampling.inverse_cdf
        self.kept: list[Tensor] = []
        self.calls = iter(range(0))

    def begin(self) -> None:
        """Begin one more evaluation."""
        self.calls = iter(range(len(self.kept)))

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        call = next(self.calls, None)
        if call is None:
            self.kept.append(self.drawn(*args, **options).detach())
            return self.kept[-1]
        return self.kept[call]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldSamples]:
    samples = HeldSamples()
    monkeypatch.setattr(sampling, "inverse_cdf", samples)
    yield samples


def a_latent(generator: Generator) -> Tensor:
    """Return ws [num_ws, w_dim] of a seed, in the weights' type."""
    return generator.mapping(generator.sample_z(1))[0].detach()


def a_camera(generator: Generator, size: int, dtype: torch.dtype) -> Camera:
    """Return a camera beside the front of the model."""
    prior = generator.info.pose_prior
    azimuth, elevation = prior.default_azimuth + 0.3, prior.default_elevation + 0.1
    camera = from_wire(orbit(generator.info, size, azimuth=azimuth, elevation=elevation, roll=0.05))
    return dataclasses.replace(
        camera, world_from_camera=camera.world_from_camera.to(dtype), intrinsics=camera.intrinsics.to(dtype)
    )


def moved(camera: Camera, twist: Tensor) -> Camera:
    """Return a camera moved by a twist [6] (rotation, then translation) in its own frame. Differentiable."""
    zero = torch.zeros_like(twist[0])
    x, y, z, *shift = twist.unbind()
    rows = [(zero, -z, y, shift[0]), (z, zero, -x, shift[1]), (-y, x, zero, shift[2]), (zero,) * 4]
    matrix = torch.linalg.matrix_exp(torch.stack([torch.stack(row) for row in rows]))
    return dataclasses.replace(camera, world_from_camera=camera.world_from_camera @ matrix)


def traced(name: str, generator: Generator, ws: Tensor, camera: Camera) -> RayColors:
    """Return the differentiable pixels: of single rays where the model has them, else of the whole image."""
    scene = generator.synthesize(ws, CASES[name].controls, differentiable=True)
    whole = scene.info.image_space or CASES[name].whole_images
    return scene.image(camera) if whole else scene.trace(camera.rays())


def channels(pixels: RayColors) -> Tensor:
    """Return all that pixels hold [height, width, 5 or 8]."""
    maps = [pixels.rgb, pixels.alpha[..., None], pixels.distance[..., None]]
    return torch.cat(maps if pixels.normal is None else [*maps, pixels.normal], -1)


def check_derivative(
    held: HeldSamples, inputs: Sequence[Tensor], values: Callable[[], Tensor], rtol: float, unused: int = 0
) -> None:
    """Compare the derivative of a random combination of values, along a random direction, with central differences.

    inputs: leaf tensors that `values` depends on, changed in place; all but `unused` of them.
    """
    torch.manual_seed(0)
    size = sum(tensor.numel() for tensor in inputs)
    directions = [torch.randn_like(tensor) / math.sqrt(size) for tensor in inputs]
    starts = [tensor.detach().clone() for tensor in inputs]
    for tensor in inputs:
        tensor.requires_grad_(True)
    held.begin()
    found = values()
    assert found.dtype == torch.float64
    factors = torch.randn_like(found)
    gradients = torch.autograd.grad((factors * found).sum(), inputs, allow_unused=True)
    used = [(g, d) for g, d in zip(gradients, directions, strict=True) if g is not None]
    assert len(used) >= len(inputs) - unused, f"{len(inputs) - len(used)} of {len(inputs)} inputs have no gradient"
    assert all(gradient.isfinite().all() for gradient, _ in used)
    slope = float(sum((gradient * direction).sum() for gradient, direction in used))
    # what the derivative along such a direction usually is
    scale = math.sqrt(float(sum(gradient.square().sum() for gradient, _ in used)) / size)
    assert scale > 1e-4, "nothing depends on it"

    def combined(step: float) -> float:
        for tensor, start, direction in zip(inputs, starts, directions, strict=True):
            tensor.copy_(start + step * direction)
        held.begin()
        return float((factors * values()).sum())

    differences: list[float] = []
    for step in STEPS:
        with torch.no_grad():
            differences.append((combined(step) - combined(-step)) / (2 * step))
        if abs(slope - differences[-1]) < rtol * scale:
            return
    pytest.fail(f"the derivative is {slope}, central differences are {differences}")


def test_pixels_have_the_derivative_in_ws(name: str, doubled: Generator, held: HeldSamples) -> None:
    case, ws = CASES[name], a_latent(doubled)
    if not ws.numel():
        return
    camera = a_camera(doubled, case.size, torch.float64)
    check_derivative(held, [ws], lambda: channels(traced(name, doubled, ws, camera)), case.rtol)


def test_pixels_have_the_derivative_in_the_camera(name: str, doubled: Generator, held: HeldSamples) -> None:
    case, ws = CASES[name], a_latent(doubled)
    camera, twist = a_camera(doubled, case.size, torch.float64), torch.zeros(6, dtype=torch.float64)
    check_derivative(held, [twist], lambda: channels(traced(name, doubled, ws, moved(camera, twist))), case.rtol)


@pytest.mark.parametrize("part", ["geometry", "appearance", "late layers", "all"])
def test_pixels_have_the_derivative_in_the_weights(
    name: str, doubled: Generator, held: HeldSamples, part: Part
) -> None:
    case = CASES[name]
    if part not in case.parts:
        with pytest.raises(NotSupported):
            doubled.parameters_for(part)
        return
    ws, camera = a_latent(doubled), a_camera(doubled, case.size, torch.float64)
    weights = doubled.parameters_for(part)
    assert weights and not any(weight.requires_grad for weight in weights), "weights are frozen until asked for"
    assert {id(weight) for weight in weights} <= {id(weight) for weight in doubled.parameters_for("all")}
    check_derivative(held, weights, lambda: channels(traced(name, doubled, ws, camera)), case.rtol, case.unused)


def test_ws_have_the_derivative_in_z_and_in_the_mapping_network(
    name: str, doubled: Generator, held: HeldSamples
) -> None:
    if not doubled.info.z_dim:
        return
    z, rtol = doubled.sample_z(3), CASES[name].rtol
    assert doubled.mapping(z).shape == (1, doubled.info.num_ws, doubled.info.w_dim)
    assert not doubled.mapping(z, truncation_psi=0.5).requires_grad, "frozen weights build no graph"
    check_derivative(held, [z], lambda: doubled.mapping(z, truncation_psi=0.5), rtol)
    network = getattr(doubled, "network", None)
    named = network.named_parameters() if isinstance(network, nn.Module) else ()
    weights = [weight for label, weight in named if "mapping" in label]
    if weights:
        check_derivative(held, weights, lambda: doubled.mapping(z.detach()), rtol)


def test_single_rays_of_image_space_models_have_derivatives(name: str, doubled: Generator, held: HeldSamples) -> None:
    case, ws = CASES[name], a_latent(doubled)
    camera, twist = a_camera(doubled, case.size, torch.float64), torch.zeros(6, dtype=torch.float64)

    def values() -> Tensor:
        scene = doubled.synthesize(ws, case.controls, differentiable=True)
        return channels(scene.trace(moved(camera, twist).rays()))

    if not doubled.synthesize(ws).info.image_space:
        return  # of all other models, these are the pixels that the tests above are about
    try:
        values()
    except NotSupported:
        return
    held.kept.clear()
    check_derivative(held, [ws, twist, *doubled.parameters_for("geometry")], values, case.rtol)


def test_parts_without_shape_leave_alpha_and_distance_alone(name: str, doubled: Generator) -> None:
    ws, camera = a_latent(doubled), a_camera(doubled, CASES[name].size, torch.float64)
    before = traced(name, doubled, ws, camera)
    for part in CASES[name].colorless_parts:
        with torch.no_grad():
            for weight in doubled.parameters_for(part):
                weight.add_(0.1 * torch.randn_like(weight))
        after = traced(name, doubled, ws, camera)
        assert torch.equal(after.alpha, before.alpha) and torch.equal(after.distance, before.distance)
        assert not torch.allclose(after.rgb, before.rgb, atol=1e-4)


# ---------------------------------------------------------------------------------------------------------------------
# Agreement of the two paths, and what does not have gradients


def test_trace_agrees_with_render(name: str) -> None:
    generator, size = made(name), CASES[name].compared_size
    ws, camera = a_latent(generator), a_camera(generator, size, torch.float32)
    with torch.no_grad():
        pixels = traced(name, generator, ws, camera)
        image = generator.synthesize(ws, CASES[name].controls).render(camera)
    # a 2D network's colours may leave 0..1: `render` clamps them
    ours = torch.cat((torch.minimum(pixels.rgb.clamp(min=0), pixels.alpha[..., None]), pixels.alpha[..., None]), -1)
    shown = torch.cat((image.rgb * image.alpha[..., None], image.alpha[..., None]), -1)
    assert float(shown.std()) > 1e-3, "nothing to compare"
    psnr = -10 * math.log10(float((ours - shown).square().mean()) + 1e-20)
    trace_psnr = generator.synthesize(ws).info.trace_psnr
    assert psnr > trace_psnr
    depth = pixels.mean_distance() * camera.rays().depth_from_distance
    solid = (image.alpha > 0.5) & image.depth.isfinite()
    if solid.any():
        low, high = (torch.tensor(corner) for corner in generator.info.bounds)
        off = float((depth - image.depth)[solid].square().mean().sqrt() / (high - low).norm())
        assert off < 10 ** (-trace_psnr / 20)


def test_render_has_no_gradients_and_sees_changed_weights(name: str) -> None:
    generator = copy.deepcopy(made(name))
    weights = generator.parameters_for("all")
    for weight in weights:
        weight.requires_grad_(True)
    ws, camera = a_latent(generator).requires_grad_(True), a_camera(generator, 8, torch.float32)
    scene = generator.synthesize(ws, CASES[name].controls, differentiable=True)
    image = scene.render(camera)
    assert not any(value is not None and value.requires_grad for value in (image.rgb, image.alpha, image.depth))
    with torch.no_grad():
        for weight in weights:
            weight.mul_(1.05)
    if not CASES[name].follows_weights:
        scene = generator.synthesize(ws, CASES[name].controls, differentiable=True)
    assert not torch.equal(scene.render(camera).rgb, image.rgb)


def test_mean_ws_is_where_truncation_leads(name: str) -> None:
    generator = made(name)
    mean = generator.mean_ws()
    assert mean.shape == (generator.info.num_ws, generator.info.w_dim) and not mean.requires_grad
    if generator.info.has_truncation:
        truncated = generator.mapping(generator.sample_z(5), truncation_psi=0.0)[0]
        assert torch.allclose(truncated, mean, atol=1e-6)
    generator.synthesize(mean, CASES[name].controls)  # its shape is that of a latent


def test_rays_that_miss_have_no_alpha(name: str) -> None:
    generator = made(name)
    ws, camera = a_latent(generator), a_camera(generator, 4, torch.float32)
    scene = generator.synthesize(ws, CASES[name].controls, differentiable=True)
    if scene.info.image_space or not CASES[name].bounded:
        return
    rays = camera.rays()
    away = scene.trace(dataclasses.replace(rays, directions=-rays.directions))
    assert float(away.alpha.abs().max()) == float(away.rgb.abs().max()) == float(away.distance.abs().max()) == 0


def test_jitter_is_repeated_by_its_seed(name: str) -> None:
    generator = made(name)
    ws, camera = a_latent(generator), a_camera(generator, 6, torch.float32)
    scene = generator.synthesize(ws, CASES[name].controls)

    def image(seed: int | None) -> Tensor:
        jitter = None if seed is None else torch.Generator().manual_seed(seed)
        return scene.image(camera, jitter=jitter).rgb

    with torch.no_grad():
        assert torch.equal(image(None), image(None)) and torch.equal(image(1), image(1))
        assert torch.equal(image(1), image(None)) != CASES[name].random


@pytest.mark.parametrize("placed", ["graf", "editnerf", "pigan", "shadegan", "stylesdf"])
def test_a_placed_scene_is_traced_where_it_is_rendered(placed: str) -> None:
    generator = made(placed)
    ws, camera = a_latent(generator), a_camera(generator, 16, torch.float32)
    matrix = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.4, 0.2], [0.4, 0.0, -0.1], [-0.2, 0.1, 0.0]]))
    world_from_scene = torch.eye(4)
    world_from_scene[:3, :3], world_from_scene[:3, 3] = 1.7 * matrix, torch.tensor([0.3, -0.2, 0.5])
    scene = PlacedScene(generator.synthesize(ws, CASES[placed].controls), world_from_scene)
    camera = camera.transformed(world_from_scene)
    with torch.no_grad():
        pixels, image = scene.image(camera), scene.render(camera)
    error = (pixels.rgb.clamp(0, 1) - image.rgb * image.alpha[..., None]).square().mean()
    assert -10 * math.log10(float(error)) > scene.info.trace_psnr
    solid = image.alpha > 0.5
    depth = pixels.mean_distance() * camera.rays().depth_from_distance
    assert solid.any() and torch.allclose(depth[solid], image.depth[solid], rtol=0.01)


@pytest.mark.parametrize("seen", ["graf", "editnerf", "pigan", "shadegan", "stylesdf"])
def test_an_orthographic_image_agrees_with_render(seen: str) -> None:
    generator = made(seen)
    ws, camera = a_latent(generator), a_camera(generator, 16, torch.float32)
    intrinsics = camera.intrinsics.clone()
    intrinsics[:2, :2] /= generator.info.pose_prior.radius
    camera = dataclasses.replace(camera, intrinsics=intrinsics, projection="orthographic")
    scene = generator.synthesize(ws, CASES[seen].controls)
    with torch.no_grad():
        pixels, image = scene.image(camera), scene.render(camera)
    error = (pixels.rgb.clamp(0, 1) - image.rgb * image.alpha[..., None]).square().mean()
    assert float(image.alpha.mean()) > 0.5 and -10 * math.log10(float(error) + 1e-20) > scene.info.trace_psnr
