"""Official NeRF files become stored scenes that render and mesh like any model."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from addon.wire.errors import UnknownCheckpoint
from addon.wire.messages import Latent
from backend.cameras import Camera
from backend.checkpoints.convert import detect, import_model
from backend.models.library import load_model
from backend.nerf.mlp import checkpoint
from backend.nerf.mlp.ndc import ndc_points, ndc_rays
from backend.nerf.mlp.network import Network, NetworkConfig
from backend.nerf.mlp.scene import NeRFScene
from backend.scenes.latents import ws_from_latent
from backend.scenes.stored import StoredScene
from tests.shared import CHECKPOINTS, ORACLES

FILES = ["nerf_200000.tar", "nerf_200000_legacy.tar", "nerf_tf1", "nerf_tf1/model_200000.npy"]


def imported(source, out, **render) -> NeRFScene:
    import_model(source, out)
    card = json.loads((out / "card.json").read_text())
    card["constructor"]["render"].update(render)
    (out / "card.json").write_text(json.dumps(card))
    generator = load_model(out)
    assert isinstance(generator, StoredScene)
    scene = generator.synthesize(ws_from_latent(generator, Latent(seed_a=3)))
    assert isinstance(scene, NeRFScene)
    return scene


def official_camera(pose, focal: float, width: int, height: int) -> Camera:
    """Official rays pass through (i − W/2)/f, ours through (i + ½ − cx)/f; their camera looks along −z."""
    k = torch.tensor([[focal, 0, width / 2 + 0.5], [0, focal, height / 2 + 0.5], [0, 0, 1]])
    return Camera(pose @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])), k, width, height)


@pytest.mark.parametrize("file", FILES)
def test_each_official_container_is_recognised_and_becomes_a_scene_without_latents(file, tmp_path):
    assert detect(CHECKPOINTS / file) == "nerf"
    scene = imported(CHECKPOINTS / file, tmp_path / "scene")
    info = load_model(tmp_path / "scene").info
    assert (info.z_dim, info.num_ws, info.kind, info.quantity) == (0, 0, "nerf", "density")
    assert scene.nerf.config.near == 2.0 and scene.nerf.config.far == 6.0 and scene.nerf.config.white_background


@pytest.mark.parametrize(
    ("oracle", "file", "focal", "samples"),
    [("nerf", "nerf_200000.tar", 12.1, (12, 16)), ("nerf_tf1", None, 11.0, (12, 14))],
)
def test_a_stored_scene_renders_the_official_picture(oracle, file, focal, samples, tmp_path):
    vectors = load_file(ORACLES / f"{oracle}.safetensors")
    source = CHECKPOINTS / file if file else original_folder(vectors, tmp_path / "official")
    scene = imported(source, tmp_path / "scene", coarse_samples=samples[0], fine_samples=samples[1])
    height, width = vectors["out/acc"].shape
    image = scene.render(official_camera(vectors["in/pose"], focal, width, height))
    over_white = image.rgb * image.alpha[..., None] + (1 - image.alpha[..., None])
    error = (over_white - vectors["out/rgb"]).abs()
    # three times what the official code's float32 differs from its float64: bins with tiny denominators
    assert error.max() < 7.2e-3 and error.mean() < 6e-5
    alpha_error = (image.alpha - vectors["out/acc"]).abs()
    assert alpha_error.max() < 7.2e-3 and alpha_error.mean() < 6e-5
    depth = torch.where(image.alpha > 0.5, image.depth * image.alpha, 1.0)
    expected = torch.where(image.alpha > 0.5, vectors["out/acc"] / vectors["out/disp"], 1.0)
    assert (depth - expected).abs().max() < 2e-2


def original_folder(vectors, folder):
    """The networks of an oracle as the original code stores them."""
    import numpy as np

    folder.mkdir()
    for name in ("model", "model_fine"):
        keys = sorted(key for key in vectors if key.startswith(f"weights/{name}/"))
        ragged = np.empty(len(keys), object)
        for index, key in enumerate(keys):
            ragged[index] = vectors[key].numpy()
        np.save(folder / f"{name}_200000.npy", ragged, allow_pickle=True)
    return folder


def test_a_camera_at_twice_the_distance_sees_the_same_scene_smaller(tmp_path):
    scene = imported(CHECKPOINTS / "nerf_200000.tar", tmp_path / "scene")
    pose = load_file(ORACLES / "nerf.safetensors")["in/pose"]
    near = scene.render(official_camera(pose, 12.0, 8, 8))
    pose[:3, 3] *= 2
    far = scene.render(official_camera(pose, 24.0, 8, 8))
    seen = (near.alpha > 0.5) & (far.alpha > 0.5)
    assert seen.any()
    assert (far.depth - near.depth)[seen].median() == pytest.approx(4.0, abs=0.5)


def test_scale_of_the_camera_matrix_scales_depth_alone(tmp_path):
    scene = imported(CHECKPOINTS / "nerf_200000.tar", tmp_path / "scene")
    camera = official_camera(load_file(ORACLES / "nerf.safetensors")["in/pose"], 12.0, 6, 6)
    shrink = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0]))
    scaled = Camera(camera.world_from_camera @ shrink, camera.intrinsics, 6, 6)
    first, second = scene.render(camera), scene.render(scaled)
    assert torch.allclose(first.rgb, second.rgb, atol=1e-5)
    assert torch.allclose(2 * first.depth, second.depth, rtol=1e-4)


def test_a_draft_has_the_size_that_was_asked_for(tmp_path):
    scene = imported(CHECKPOINTS / "nerf_200000.tar", tmp_path / "scene")
    camera = official_camera(load_file(ORACLES / "nerf.safetensors")["in/pose"], 12.0, 10, 7)
    draft = scene.render(camera, quality="draft", samples_per_ray=9)
    assert draft.rgb.shape == (7, 10, 3) and draft.depth.shape == draft.alpha.shape == (7, 10)


def test_options_beside_the_file_say_how_it_is_sampled(tmp_path):
    shutil.copy(CHECKPOINTS / "nerf_200000.tar", tmp_path)
    (tmp_path / "args.txt").write_text("expname = fern\ndataset_type = llff\nN_samples = 32\nno_ndc = False\n")
    scene = imported(tmp_path / "nerf_200000.tar", tmp_path / "scene")
    config = scene.nerf.config
    assert config.ndc and (config.near, config.far, config.coarse_samples) == (0.0, 1.0, 32)
    assert not config.white_background
    assert load_model(tmp_path / "scene").info.label == "fern"


def test_a_forward_facing_scene_gives_the_colour_and_place_of_its_own_field(tmp_path):
    """A sheet of density in NDC: where the ray meets it is where the field says that it is."""
    shutil.copy(CHECKPOINTS / "nerf_200000.tar", tmp_path)
    (tmp_path / "args.txt").write_text("dataset_type = llff\n")
    scene = imported(tmp_path / "nerf_200000.tar", tmp_path / "scene")
    for network in (scene.nerf.coarse, scene.nerf.fine):
        for parameter in network.parameters():
            parameter.zero_()
        network.density.bias.fill_(0.5)
    camera = Camera(
        torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])), torch.tensor([[9.0, 0, 4], [0, 9.0, 4], [0, 0, 1]]), 8, 8
    )
    image = scene.render(camera)
    origins = camera.rays().origins
    warped_o, warped_d = ndc_rays(origins, camera.rays().directions, 1.0, 1 / 0.8085978, 1 / 1.0780423)
    point = origins + camera.rays().directions * (image.depth / camera.rays().depth_from_distance)[..., None]
    expected, scale = ndc_points(point, scene.nerf.config.ndc_focal)
    along = ((expected - warped_o) * warped_d).sum(-1) / warped_d.square().sum(-1)
    assert torch.allclose(warped_o + along[..., None] * warped_d, expected, atol=1e-3)
    assert torch.all((along > 0) & (along < 1)) and torch.all(scale > 0)
    behind = scene.render(Camera(torch.eye(4), camera.intrinsics, 8, 8))
    assert behind.alpha.max() == 0 and torch.isinf(behind.depth).all()


def test_an_edited_network_is_named(tmp_path):
    tree = torch.load(CHECKPOINTS / "nerf_200000.tar", weights_only=False)
    tree["network_fn_state_dict"]["extra.weight"] = torch.zeros(1)
    torch.save(tree, tmp_path / "a.tar")
    with pytest.raises(UnknownCheckpoint, match="extra"):
        import_model(tmp_path / "a.tar", tmp_path / "scene")


def test_original_weights_without_view_directions_fill_every_parameter():
    network = Network(NetworkConfig(depth=4, width=8, view_dependent=False, position_frequencies=2))
    state = network.state_dict()
    both = [torch.cat((state[f"rgb.{part}"], state[f"density.{part}"])) for part in ("weight", "bias")]
    arrays = [t for i in range(4) for t in (state[f"trunk.{i}.weight"].T, state[f"trunk.{i}.bias"])]
    config, tensors = checkpoint.network_from_keras([*arrays, both[0].T, both[1]])
    assert checkpoint.recognise([*arrays, both[0].T, both[1]])
    assert not config.view_dependent and not config.skips
    assert all(torch.equal(tensors[name], state[name]) for name in state)
