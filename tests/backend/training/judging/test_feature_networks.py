"""Feature networks: the interpreter's layers against PyTorch's own, the package's format, and monotonicity."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from addon.wire.errors import InvalidRequest, UnreadableFile
from backend.training.features import train_features
from backend.training.judging.feature_networks import own_network, package_network
from backend.training.judging.layers_model import LayersModel, dequantised
from backend.training.judging.monotonicity import WORSE, measure

from .boxes import box_chairs

PACKAGE = os.environ.get("LATENT_LATHE_NSFWJS", "")


def _layer(kind: str, name: str, inputs: tuple[str, ...] = (), **config: Any) -> dict[str, Any]:
    nodes = [[[one, 0, 0, {}] for one in inputs]] if inputs else []
    return {"name": name, "class_name": kind, "config": config, "inbound_nodes": nodes}


def _conv(kind: str, name: str, source: str, stride: int, padding: str, bias: bool = False) -> dict[str, Any]:
    return _layer(
        kind, name, (source,), strides=[stride, stride], padding=padding, dilation_rate=[1, 1], activation="linear"
    )  # fmt: skip


LAYERS = [
    _layer("InputLayer", "input"),
    _layer("ZeroPadding2D", "pad", ("input",), padding=[[0, 1], [0, 1]]),
    _conv("Conv2D", "conv", "pad", 2, "valid"),
    _layer("BatchNormalization", "norm", ("conv",), epsilon=0.001),
    _layer("ReLU", "relu", ("norm",), max_value=6),
    _conv("DepthwiseConv2D", "depth", "relu", 2, "same"),
    _conv("Conv2D", "again", "depth", 1, "same"),
    _layer("Add", "add", ("depth", "again")),
    _layer("MaxPooling2D", "most", ("add",), pool_size=[3, 3], strides=[1, 1], padding="same"),
    _layer("AveragePooling2D", "mean", ("add",), pool_size=[3, 3], strides=[1, 1], padding="same"),
    _layer("Concatenate", "out", ("most", "mean")),
]


def _weights() -> tuple[list[dict[str, Any]], bytes]:
    random = np.random.default_rng(0)
    shapes = {
        "conv/kernel": (3, 3, 3, 4), "conv/bias": (4,), "norm/gamma": (4,), "norm/beta": (4,), "norm/moving_mean": (4,),
        "norm/moving_variance": (4,), "depth/depthwise_kernel": (3, 3, 4, 1), "again/kernel": (3, 3, 4, 4),
    }  # fmt: skip
    entries = [
        {"name": name, "shape": list(shape), "quantization": {
            "min": 0.2 if "variance" in name else -1.0, "scale": 2 / 255, "dtype": "uint8"}}
        for name, shape in shapes.items()
    ]  # fmt: skip
    return [{"paths": ["group1-shard1of2", "group1-shard2of2"], "weights": entries}], random.bytes(
        sum(int(np.prod(shape)) for shape in shapes.values())
    )


def test_layers_compute_what_pytorch_computes_with_tensorflows_padding() -> None:
    manifest, data = _weights()
    w = dequantised(manifest, data)
    x = torch.rand(2, 3, 21, 21, generator=torch.Generator().manual_seed(0))
    found = LayersModel({"layers": LAYERS}, w, "out")(x)

    conv = F.conv2d(F.pad(x, (0, 1, 0, 1)), w["conv/kernel"].permute(3, 2, 0, 1), w["conv/bias"], 2)  # 10 × 10
    norm = F.batch_norm(
        conv, w["norm/moving_mean"], w["norm/moving_variance"], w["norm/gamma"], w["norm/beta"], eps=0.001
    )
    # "same" for 10 pixels by 2: five outputs, all of the padding below and right
    depth = F.conv2d(F.pad(norm.clamp(0, 6), (0, 1, 0, 1)), w["depth/depthwise_kernel"].permute(2, 3, 0, 1), None, 2,
                     groups=4)  # fmt: skip
    added = depth + F.conv2d(depth, w["again/kernel"].permute(3, 2, 0, 1), padding=1)
    mean = F.avg_pool2d(added, 3, 1, 1, count_include_pad=False)
    expected = torch.cat((F.max_pool2d(added, 3, 1, 1), mean), 1)
    assert found.shape == (2, 8, 5, 5)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_weights_that_do_not_fill_the_topology_are_refused() -> None:
    manifest, data = _weights()
    with pytest.raises(UnreadableFile, match="bytes"):
        dequantised(manifest, data + b"x")
    with pytest.raises(UnreadableFile, match="Lambda"):
        LayersModel({"layers": [_layer("Lambda", "odd")]}, {}, "odd")


def _package(path: Path) -> Path:
    """Write an archive in the form of nsfwjs, of a small network whose last layer has the name that is read."""
    manifest, data = _weights()
    layers = [*LAYERS[:-1], {**LAYERS[-1], "name": "out_relu"}]
    model = {"modelTopology": {"model_config": {"config": {"layers": layers}}}, "weightsManifest": manifest}

    def script(literal: str) -> bytes:
        loader = "!function(e){x()}(function(){return function r(){}({1:[function(e,t,n){t.exports="
        return f"{loader}{literal}}},{{}}]}},{{}},[1])(1)}});".encode()

    minified = re.sub(r'"([A-Za-z_]\w*)":', r"\1:", json.dumps(model, separators=(",", ":"))).replace(":0.", ":.")
    files = {"package.json": b'{"version": "4.4.0"}', "dist/models/mobilenet_v2/model.min.js": script(minified)}
    for number, part in enumerate((data[:50], data[50:]), 1):
        text = f'"{base64.b64encode(part).decode()}"'
        files[f"dist/models/mobilenet_v2/group1-shard{number}of2.min.js"] = script(text)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def test_the_package_is_read_from_its_archive_and_from_its_folder(tmp_path: Path) -> None:
    path = _package(tmp_path / "nsfwjs.tgz")
    network = package_network(path)
    assert network.name == "MobileNetV2 of nsfwjs 4.4.0, mean of out_relu at 96²"
    manifest, data = _weights()
    images = torch.randint(0, 256, (3, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    layers = LayersModel({"layers": LAYERS}, dequantised(manifest, data), "out")
    torch.testing.assert_close(network(images), layers(images / 255).mean((2, 3)), rtol=1e-4, atol=1e-5)
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    torch.testing.assert_close(package_network(tmp_path / "unpacked")(images), network(images))


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08broken"])
def test_what_is_not_the_package_is_refused_with_the_way_to_get_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "nsfwjs.tgz"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="npm pack"):
        package_network(path)
    with pytest.raises(UnreadableFile, match="npm pack"):
        package_network(tmp_path / "missing")
    with pytest.raises(InvalidRequest, match="mobilenet"):
        package_network(path, "resnet")


def test_kid_of_the_learnt_network_rises_as_images_get_worse() -> None:
    data = box_chairs(96, 4)
    network = own_network(
        train_features(F.interpolate(data.images.float(), 64).byte(), data.objects, steps=80), data.images
    )
    found = measure(network, data.images, data.objects, 160)
    assert set(found) == {*WORSE, "objects"}
    for name, series in found.items():
        values = series.kid_x1000
        assert values[-1] > values[-2] > values[0], name
        assert values[-1] > 3 * abs(values[0]), name
        assert series.frechet[-1] > 1.2 * series.frechet[0], name


@pytest.mark.skipif(not PACKAGE, reason="set LATENT_LATHE_NSFWJS to the package of `npm pack nsfwjs@4.4.0`")
def test_distances_of_the_packages_network_rise_at_every_step() -> None:
    data = box_chairs(96, 4)
    found = measure(package_network(Path(PACKAGE)), data.images, data.objects, 160)
    assert all(series.rises for series in found.values()), found
