"""Vanilla NeRF: its parts, and the conversion of official files."""

import math

import pytest
import torch

from backend.cameras import Camera
from backend.checkpoints.unpickle import read_checkpoint
from backend.nerf.mlp import checkpoint
from backend.nerf.mlp.encodings import positional_encoding
from backend.nerf.mlp.ndc import ndc_rays
from backend.nerf.mlp.network import NeRF, Network, NetworkConfig, RenderConfig, composite
from backend.nerf.mlp.scene import NeRFScene
from backend.scenes.protocol import FieldInfo
from tests.shared import CHECKPOINTS

SMALL = NetworkConfig(depth=3, width=16, bottleneck=8, view_width=8, skips=(1,), position_frequencies=3)


def test_encoding_holds_the_point_and_both_waves_of_every_octave():
    p = torch.tensor([[0.25, -0.5, 1.0]])
    encoded = positional_encoding(p, 2)
    expected = torch.cat((p, p.sin(), p.cos(), (2 * p).sin(), (2 * p).cos()), -1)
    assert torch.allclose(encoded, expected)


def test_a_homogeneous_slab_absorbs_as_beer_and_lambert_say():
    t = torch.linspace(0, 1, 101)[None]
    raw = torch.zeros(1, 101, 4)
    raw[..., 3] = 3.0
    raw[:, -1, 3] = -1.0  # the endless last interval is empty
    colors = composite(raw, t, torch.tensor([[0.0, 0.0, 2.0]]), white_background=False)
    assert colors.alpha.item() == pytest.approx(1 - math.exp(-3.0 * 2.0), abs=1e-5)
    assert torch.allclose(colors.rgb, 0.5 * colors.alpha[:, None], atol=1e-6)


def test_ndc_takes_the_near_plane_to_minus_one_and_infinity_to_one():
    origins = torch.tensor([[0.1, -0.2, 0.3]])
    directions = torch.tensor([[0.2, 0.1, -1.0]])
    o, d = ndc_rays(origins, directions, focal=50.0, width=80, height=60)
    assert o[0, 2].item() == pytest.approx(-1.0, abs=1e-6)
    assert (o + d)[0, 2].item() == pytest.approx(1.0, abs=1e-6)


def _opaque_ball_scene() -> NeRFScene:
    """A NeRF whose density is high everywhere: the first sample stops the ray."""
    torch.manual_seed(0)
    nerf = NeRF(SMALL, SMALL, RenderConfig(near=2.0, far=6.0, coarse_samples=8, fine_samples=8))
    for network in (nerf.coarse, nerf.fine):
        network.density.bias.data.fill_(1e4)
    bounds = ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))
    return NeRFScene(nerf, FieldInfo("density", 10.0, bounds))


def test_render_gives_depth_along_z_and_the_same_image_twice():
    scene = _opaque_ball_scene()
    k = torch.tensor([[8.0, 0, 4], [0, 8.0, 4], [0, 0, 1]])
    pose = torch.eye(4)
    pose[2, 3] = -4.0
    camera = Camera(pose, k, 8, 8)
    first, second = scene.render(camera), scene.render(camera)
    assert torch.equal(first.rgb, second.rgb)
    assert first.alpha.min() > 0.999
    assert torch.allclose(first.depth, torch.full((8, 8), 2.0), rtol=2e-2)


def test_render_can_be_cancelled():
    class Stop(Exception):
        pass

    def progress(fraction, text="", preview=None):
        raise Stop

    camera = Camera(torch.eye(4), torch.tensor([[8.0, 0, 4], [0, 8.0, 4], [0, 0, 1]]), 8, 8)
    with pytest.raises(Stop):
        _opaque_ball_scene().render(camera, progress=progress)


@pytest.mark.parametrize("file", ["nerf_200000.tar", "nerf_200000_legacy.tar"])
def test_official_pytorch_file_fills_every_parameter(file):
    for config, parameters in checkpoint.from_pytorch(read_checkpoint(CHECKPOINTS / file)):
        Network(config).load_state_dict(parameters)  # strict: a bijection
        assert config.position_frequencies == 10


def test_original_keras_arrays_fill_every_parameter():
    arrays = read_checkpoint(CHECKPOINTS / "nerf_tf1" / "model_200000.npy")
    config, parameters = checkpoint.network_from_keras(arrays)
    Network(config).load_state_dict(parameters)
    assert config.bottleneck == 256
    assert config.skips == (4,)


def test_a_stray_tensor_is_named():
    weights = {**checkpoint_names(Network(SMALL)), "extra.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"extra\.weight"):
        checkpoint.network_from_pytorch(weights)


def checkpoint_names(network: Network) -> dict[str, torch.Tensor]:
    names = {"density": "alpha_linear", "bottleneck": "feature_linear", "view": "views_linears.0", "rgb": "rgb_linear"}
    found = {}
    for name, value in network.state_dict().items():
        layer, _, part = name.rpartition(".")
        official = names.get(layer) or layer.replace("trunk", "pts_linears")
        found[f"{official}.{part}"] = value
    return found
