"""Every official container is read, with every tensor as it was saved."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from addon.wire.errors import UnreadableFile
from backend.checkpoints.convert import state_dict
from backend.checkpoints.isolated import read_checkpoint_isolated
from backend.checkpoints.unpickle import F32, U8, Opaque, Storage, TensorRecord, read_checkpoint
from tests.backend.checkpoints import hostile
from tests.shared import CHECKPOINTS, ORACLES

Pick = Callable[[Any], dict[str, Tensor]]


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def nerf_networks(tree: Any) -> dict[str, Tensor]:
    return {
        **prefixed("network_fn.", tree["network_fn_state_dict"]),
        **prefixed("network_fine.", tree["network_fine_state_dict"]),
    }


def keras(model: str) -> Pick:
    return lambda tree: {f"{model}/{index:03d}": tensor for index, tensor in enumerate(tree)}


# file → (oracle set, how to name its tensors as the set does, how many of the set's weights it holds)
OFFICIAL: dict[str, tuple[str, Pick, int]] = {
    "deepsdf_sofas/ModelParameters/latest.pth": ("deepsdf", lambda t: t["model_state_dict"], 26),
    "deepsdf_sofas/ModelParameters/2000.pth": ("deepsdf", lambda t: t["model_state_dict"], 26),
    "deepsdf_sofas/ModelParameters/2000_legacy.pth": ("deepsdf", lambda t: t["model_state_dict"], 26),
    "editnerf_1000000.tar": ("editnerf", nerf_networks, 76),
    "editnerf_1000000_legacy.tar": ("editnerf", nerf_networks, 76),
    "eg3d_network-snapshot-000000.pkl": ("eg3d", lambda t: state_dict(t["G_ema"]), 119),
    "gan3d_G.pth": ("gan3d", lambda t: prefixed("generator.", t), 25),
    "graf_model.pt": ("graf", lambda t: prefixed("generator.", t["generator"]), 24),
    "graf_model_legacy.pt": ("graf", lambda t: prefixed("generator.", t["generator"]), 24),
    "nerf_200000.tar": ("nerf", nerf_networks, 48),
    "nerf_200000_legacy.tar": ("nerf", nerf_networks, 48),
    "nerf_tf1/model_200000.npy": ("nerf_tf1", keras("model"), 24),
    "nerf_tf1/model_fine_200000.npy": ("nerf_tf1", keras("model_fine"), 24),
    "pigan/generator.pth": ("pigan", state_dict, 30),
    "shadegan_generator.pth": ("shadegan", dict, 66),
    "stylenerf_network-snapshot-000000.pkl": ("stylenerf", lambda t: state_dict(t["G_ema"]), 98),
    "stylesdf_full_model.pt": ("stylesdf", lambda t: t["g_ema"], 102),
    "von/latest_net_E.pth": ("von", lambda t: prefixed("E.", t), 12),
    "von/latest_net_E_legacy.pth": ("von", lambda t: prefixed("E.", t), 12),
    "von/latest_net_G_3D.pth": ("von", lambda t: prefixed("G_3D.", t), 19),
    "von/latest_net_G_3D_legacy.pth": ("von", lambda t: prefixed("G_3D.", t), 19),
    "von/latest_net_G_AB.pth": ("von", lambda t: prefixed("G_AB.", t), 40),
    "von/latest_net_G_AB_legacy.pth": ("von", lambda t: prefixed("G_AB.", t), 40),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_file_holds_the_weights_of_its_set(name: str) -> None:
    oracle, pick, count = OFFICIAL[name]
    weights = load_file(ORACLES / f"{oracle}.safetensors")
    found = pick(read_checkpoint(CHECKPOINTS / name))
    known = {key: value for key, value in found.items() if f"weights/{key}" in weights}
    assert len(known) == count
    assert len(found) - count in (0, 2)  # π-GAN's module also keeps the averages of its mapping
    for key, value in known.items():
        assert value.dtype == weights[f"weights/{key}"].dtype
        assert torch.equal(value, weights[f"weights/{key}"]), key


def test_every_official_checkpoint_is_tried() -> None:
    others = {
        "deepsdf_sofas/LatentCodes/2000.pth",
        "deepsdf_sofas/LatentCodes/2000_legacy.pth",
        "deepsdf_sofas/LatentCodes/latest.pth",
        "deepsdf_sofas/OptimizerParameters/latest.pth",
        "pigan/ema.pth",
    }
    suffixes = {".pth", ".pt", ".pkl", ".tar", ".npy"}
    files = {p.relative_to(CHECKPOINTS).as_posix() for p in CHECKPOINTS.rglob("*") if p.suffix in suffixes}
    assert files == OFFICIAL.keys() | others


def test_the_averaged_generator_of_pigan_is_the_expected_one() -> None:
    generator = read_checkpoint(CHECKPOINTS / "pigan/generator.pth")
    ema = read_checkpoint(CHECKPOINTS / "pigan/ema.pth")
    assert isinstance(ema, Opaque) and str(ema) == "Opaque(torch_ema.ema.ExponentialMovingAverage)"
    expected = load_file(CHECKPOINTS / "pigan/expected_after_ema.safetensors")
    parameters = [name for name in state_dict(generator) if name in expected]
    averaged = dict(zip(parameters, ema.state["shadow_params"], strict=True))
    assert averaged.keys() == expected.keys()
    assert all(torch.equal(averaged[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", ["2000.pth", "2000_legacy.pth", "latest.pth"])
def test_latent_codes_are_those_of_the_set(name: str) -> None:
    codes = read_checkpoint(CHECKPOINTS / "deepsdf_sofas/LatentCodes" / name)
    assert isinstance(codes, dict)
    weights = load_file(ORACLES / "deepsdf.safetensors")
    assert torch.equal(codes["latent_codes"]["weight"], weights["in/latent_codes"])


def test_embedded_source_is_dropped_and_omegaconf_becomes_plain() -> None:
    tree: Any = read_checkpoint(CHECKPOINTS / "stylenerf_network-snapshot-000000.pkl")
    generator = tree["G_ema"]
    kwargs = generator.state["_init_kwargs"]
    assert isinstance(generator, Opaque) and generator.name == "Generator"
    assert kwargs["synthesis_kwargs"]["camera_kwargs"]["range_u"] == [-0.3, 0.3]
    assert kwargs["synthesis_kwargs"]["background_kwargs"]["skips"] == []

    def texts(node: Any) -> list[str]:
        if isinstance(node, str):
            return [node]
        if isinstance(node, Opaque):
            return [node.module, node.name, *texts(node.state)]
        children = node.values() if isinstance(node, dict) else node if isinstance(node, (list, tuple)) else ()
        return [text for child in children for text in texts(child)]

    assert not [text for text in texts(tree) if "EXECUTED" in text or "import " in text]
    assert not Path("CHECKPOINT_CODE_WAS_EXECUTED").exists()


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, Tensor):
        return isinstance(ours, Tensor) and ours.dtype == theirs.dtype and torch.equal(ours, theirs.detach())
    if isinstance(theirs, dict):
        return list(ours) == list(theirs) and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    return type(ours) is type(theirs) and ours == theirs


def a_tree() -> dict[str, Any]:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    dtypes = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int16, torch.int32, torch.int64)
    return {
        "types": [(torch.arange(5) - 2).to(dtype) for dtype in dtypes],
        "bool": torch.tensor([True, False]),
        "uint8": torch.tensor([0, 255], dtype=torch.uint8),
        "transposed": base.T,
        "sliced": base[1::2, ::3],
        "expanded": torch.tensor([1.0, 2.0])[:, None].expand(2, 3),
        "shared": [base, base],
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "parameter": nn.Parameter(torch.ones(2)),
        "plain": {"int": 3, "float": 0.5, "none": None, "text": "é", "bytes": b"\x00", "tuple": (1, (2, [3])), 7: True},
        "large": 10**15,
        "negative": -5,
        "nan": [float("inf")],
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("isolated", [False, True], ids=["here", "isolated"])
def test_what_torch_saves_is_what_is_read(tmp_path: Path, zipped: bool, isolated: bool) -> None:
    file = tmp_path / "model.pth"
    torch.save(a_tree(), file, _use_new_zipfile_serialization=zipped)
    assert same((read_checkpoint_isolated if isolated else read_checkpoint)(file), a_tree())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_pickle_writes_is_what_is_read(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "model.pkl"
    with file.open("wb") as handle:
        pickle.dump(a_tree(), handle, protocol)
    assert same(read_checkpoint(file), a_tree())


@pytest.mark.parametrize("protocol", [0, 1])
def test_early_protocols_of_plain_data_are_read(tmp_path: Path, protocol: int) -> None:
    plain = {"a": [1, -2, 3.5, None, True, "é\n", (1, 2)], "b": {"c": 2**40}}
    file = tmp_path / "plain.pkl"
    file.write_bytes(pickle.dumps(plain, protocol))
    assert read_checkpoint(file) == plain


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_module_saved_whole_gives_its_state_dict(tmp_path: Path, zipped: bool) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.Conv2d(1, 2, 3, bias=False)))
    module.register_buffer("passing", torch.zeros(2), persistent=False)
    file = tmp_path / "module.pth"
    torch.save(module, file, _use_new_zipfile_serialization=zipped)
    found = state_dict(read_checkpoint(file))
    expected = module.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("container", [hostile.torch_zip, hostile.torch_legacy])
@pytest.mark.parametrize("storage", ["torch\nFloatStorage", "torch.cuda\nFloatStorage"])
def test_tensors_that_were_on_cuda_are_read(tmp_path: Path, container: Any, storage: str) -> None:
    values = torch.randn(6)
    data = hostile.tensor(6, shape=(2, 3), strides=(3, 1), storage=storage)
    assert b"cuda:0" in data
    file = tmp_path / "cuda.pth"
    file.write_bytes(container(data, {"0": values.numpy().tobytes()}))
    assert same(read_checkpoint(file), values.reshape(2, 3))


def test_numpy_arrays_are_read_as_tensors(tmp_path: Path) -> None:
    import numpy as np

    arrays = {
        "c": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        "big endian": np.arange(3, dtype=">f8"),
        "scalar": np.float64(2.5),
        "integer": np.int64(-3),
        "ragged": np.array([np.zeros(2), np.ones((1, 3))], dtype=object),
    }
    file = tmp_path / "arrays.pkl"
    file.write_bytes(pickle.dumps(arrays, 4))
    found: Any = read_checkpoint(file)
    for name in ("c", "fortran", "big endian"):
        assert np.array_equal(found[name].numpy(), arrays[name])
    assert (found["scalar"], found["integer"]) == (2.5, -3)
    assert [tuple(item.shape) for item in found["ragged"]] == [(2,), (1, 3)]


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", "|u1", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_plain_npy_files_are_read(tmp_path: Path, dtype: str, order: Any) -> None:
    import numpy as np

    array = np.array(np.arange(6).reshape(2, 3) % 2, dtype=dtype, order=order)
    file = tmp_path / "array.npy"
    np.save(file, array)
    found = read_checkpoint(file)
    assert isinstance(found, Tensor) and np.array_equal(found.numpy(), array)


def test_a_storage_of_odd_length_is_read_as_far_as_it_goes() -> None:
    data = memoryview(np.arange(4, dtype="<f4").tobytes() + b"\1")
    record = TensorRecord(F32, (2,), (2,), 0, Storage(U8, len(data), data))
    assert np.frombuffer(record.to_bytes(), "<f4").tolist() == [0.0, 2.0]


def test_a_tensor_that_is_met_twice_stays_one(tmp_path: Path) -> None:
    base = torch.arange(3.0)
    file = tmp_path / "twice.pth"
    torch.save({"a": base, "b": base}, file)
    for read in (read_checkpoint, read_checkpoint_isolated):
        tree: Any = read(file)
        assert tree["a"] is tree["b"]


@pytest.mark.parametrize("read", [read_checkpoint, read_checkpoint_isolated])
def test_a_file_that_is_not_there_and_a_folder_are_said_to_be_so(tmp_path: Path, read: Any) -> None:
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read(tmp_path / "absent.pth")
    with pytest.raises(UnreadableFile, match="not a file"):
        read(tmp_path)


def test_a_changed_byte_in_a_zip_is_noticed(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(64.0)}, buffer)
    data = bytearray(buffer.getvalue())
    at = data.index(torch.arange(64.0).numpy().tobytes()) + 17
    data[at] ^= 0x10
    file = tmp_path / "changed.pth"
    file.write_bytes(data)
    with pytest.raises(UnreadableFile, match="checksum"):
        read_checkpoint(file)
