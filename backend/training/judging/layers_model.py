"""Interpreter of Keras layers models (TensorFlow.js: a topology in JSON, weights quantised to bytes) in PyTorch.

Only what MobileNet and Inception are made of is known: twelve kinds of layers, `channels_last`, weights of one byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from addon.wire.errors import UnreadableFile


def dequantised(manifest: list[dict[str, Any]], data: bytes) -> dict[str, Tensor]:
    """Return the weights of a manifest by name, in Keras's layouts: byte · scale + min.

    Raises:
        UnreadableFile: the bytes are more or fewer than the manifest names, or of another type.
    """
    found, place = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        how = entry.get("quantization", {})
        if how.get("dtype") != "uint8":
            raise UnreadableFile(f"The weight {entry['name']} is not quantised to uint8, the one form that is read.")
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(data, np.uint8, count, place).astype(np.float32)
        found[entry["name"]] = torch.from_numpy(values * how["scale"] + how["min"]).view(entry["shape"])
        place += count
    if place != len(data):
        raise UnreadableFile(f"The weights have {len(data)} bytes; the topology names {place}.")
    return found


class LayersModel(nn.Module):
    """The layers of a Keras model up to one of them. Input [n, 3, H, W]; output [n, channels, h, w]."""

    def __init__(self, config: dict[str, Any], weights: Mapping[str, Tensor], output: str) -> None:
        """config: `model_config.config` of the topology. output: name of the last layer.

        Raises:
            UnreadableFile: there is no such layer, or one before it is of a kind that is not known.
        """
        super().__init__()
        names = [layer["name"] for layer in config["layers"]]
        if output not in names:
            raise UnreadableFile(f"The model has no layer {output!r}.")
        self.output = output
        self.inputs: dict[str, list[str]] = {}
        self.layers: dict[str, Callable[..., Tensor]] = {}
        for layer in config["layers"][: names.index(output) + 1]:
            name, kind = layer["name"], layer["class_name"]
            if kind not in KINDS:
                raise UnreadableFile(f"The layer {name} is of kind {kind}; known are {', '.join(KINDS)}.")
            own = {key.removeprefix(f"{name}/"): w for key, w in weights.items() if key.startswith(f"{name}/")}
            self.inputs[name] = [node[0] for node in layer["inbound_nodes"][0]] if layer["inbound_nodes"] else []
            self.layers[name] = KINDS[kind](layer["config"], own)

    def forward(self, images: Tensor) -> Tensor:
        """Evaluate the layers in their order."""
        values: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            values[name] = layer(*(values[key] for key in self.inputs[name])) if self.inputs[name] else images
        return values[self.output]


# ---- layers: each function takes a layer's configuration and weights, and returns what it does

Config = dict[str, Any]
Weights = dict[str, Tensor]
Layer = Callable[..., Tensor]


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    if name not in ("linear", "relu"):
        raise UnreadableFile(f"The activation {name!r} is not known; linear and relu are.")
    return F.relu if name == "relu" else lambda x: x


def _same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Tensor:
    """Pad [n, c, h, w] as TensorFlow's "same": as many outputs as inputs / stride, the odd pixel below and right."""
    padding: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        padding += [total // 2, total - total // 2]
    return F.pad(x, padding, value=value)


def _convolution(config: Config, weights: Weights) -> Layer:
    depthwise = "depthwise_kernel" in weights
    kernel = weights["depthwise_kernel" if depthwise else "kernel"]  # [h, w, in, out or multiplier]
    size, stride = tuple(kernel.shape[:2]), tuple(config["strides"])
    groups = kernel.shape[2] if depthwise else 1
    kernel = (
        kernel.permute(2, 3, 0, 1).flatten(0, 1)[:, None] if depthwise else kernel.permute(3, 2, 0, 1)
    ).contiguous()
    after, bias, same = _activation(config["activation"]), weights.get("bias"), config["padding"] == "same"
    if tuple(config["dilation_rate"]) != (1, 1):
        raise UnreadableFile("Dilated convolutions are not known.")

    def layer(x: Tensor) -> Tensor:
        return after(F.conv2d(_same(x, size, stride) if same else x, kernel, bias, stride, groups=groups))

    return layer


def _normalisation(config: Config, weights: Weights) -> Layer:
    scale = (weights["moving_variance"] + config["epsilon"]).rsqrt() * weights.get("gamma", torch.ones(()))
    shift = weights.get("beta", torch.zeros(())) - weights["moving_mean"] * scale
    return lambda x: torch.addcmul(shift[:, None, None], x, scale[:, None, None])


def _pooling(config: Config, largest: bool) -> Layer:
    size, stride, same = tuple(config["pool_size"]), tuple(config["strides"]), config["padding"] == "same"

    def layer(x: Tensor) -> Tensor:
        if largest:
            return F.max_pool2d(_same(x, size, stride, -torch.inf) if same else x, size, stride)
        if not same:
            return F.avg_pool2d(x, size, stride)
        # the mean of the pixels inside the image alone
        inside = F.avg_pool2d(_same(torch.ones_like(x[:1, :1]), size, stride), size, stride)
        return F.avg_pool2d(_same(x, size, stride), size, stride) / inside

    return layer


def _padding(config: Config, _: Weights) -> Layer:
    (top, bottom), (left, right) = config["padding"]
    return lambda x: F.pad(x, (left, right, top, bottom))


KINDS: dict[str, Callable[[Config, Weights], Layer]] = {
    "InputLayer": lambda config, weights: lambda x: x,
    "ZeroPadding2D": _padding,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "BatchNormalization": _normalisation,
    "ReLU": lambda config, weights: lambda x: x.clamp(0, config["max_value"]),
    "Activation": lambda config, weights: _activation(config["activation"]),
    "Add": lambda config, weights: lambda *x: torch.stack(x).sum(0) if len(x) > 2 else x[0] + x[1],
    "Concatenate": lambda config, weights: lambda *x: torch.cat(x, 1),
    "MaxPooling2D": lambda config, weights: _pooling(config, largest=True),
    "AveragePooling2D": lambda config, weights: _pooling(config, largest=False),
    "Dropout": lambda config, weights: lambda x: x,
}
"""Kind → layer. Images are [n, channels, h, w] here, where Keras has [n, h, w, channels]."""
