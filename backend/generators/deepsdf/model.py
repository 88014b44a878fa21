"""DeepSDF (Park et al., CVPR 2019, arxiv.org/abs/1901.05103): one decoder and one code for each shape.

The whole network; the arithmetic of the decoder is the kernel `sdf_mlp`. scene.py places it in the world.

Vocabulary: `code` is the paper's z_i, a vector of `latent_size`; the decoder f(z, x) is the signed distance at x,
negative inside, truncated at ± `clamp` (the paper's δ) because it was trained so. *Canonical* space is the frame of the
training shapes: ShapeNetCore v2's y up, front along -z, the shape inside the unit sphere. *World* is the project's:
z up, the front along -y, metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...kernels.sdf_mlp import Impl, Layer, MlpWeights, sdf_mlp


@dataclass(frozen=True)
class DecoderSpec:
    """The shape of the decoder, in the words of the official specs.json ("NetworkSpecs")."""

    latent_size: int = 256
    dims: tuple[int, ...] = (512,) * 8  # widths of the hidden layers, skip inputs counted
    latent_in: tuple[int, ...] = (4,)  # layers that read [hidden, code, point]
    xyz_in_all: bool = False  # the other hidden layers read [hidden, point]
    norm_layers: tuple[int, ...] = tuple(range(8))  # layers with weight normalisation, or LayerNorm after them
    weight_norm: bool = True  # which of the two
    dropout: tuple[int, ...] = ()  # layers followed by dropout while training
    dropout_prob: float = 0.0
    latent_dropout: bool = False  # dropout of the code, with probability 0.2, while training
    use_tanh: bool = False  # one more tanh before the last


LATENT_DROPOUT = 0.2


class WeightNormLinear(nn.Module):
    """y = (g v / |v|) x + b, with |v| over the inputs (Salimans and Kingma 2016). Parameters named as torch's."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        linear = nn.Linear(inputs, outputs)
        self.bias = linear.bias
        self.weight_g = nn.Parameter(linear.weight.detach().norm(dim=1, keepdim=True))  # [out, 1]
        self.weight_v = nn.Parameter(linear.weight.detach().clone())  # [out, in]

    @property
    def weight(self) -> Tensor:  # [out, in]
        """The effective matrix."""
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True))


class Decoder(nn.Module):
    """f(code, point): the paper's eight-layer network with a skip of the whole input, and its official variants.

    Layers are named lin0… and bn1… as in the official state dict. A layer before a skip is narrower by the input, so
    that [hidden, code, point] has the width of `dims`.
    """

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.spec = spec
        input_size = spec.latent_size + 3
        widths = [input_size, *spec.dims, 1]
        self.num_layers = len(widths) - 1
        for index in range(self.num_layers):
            outputs = widths[index + 1]
            if index + 1 in spec.latent_in:
                outputs -= input_size
            elif spec.xyz_in_all and index + 1 < self.num_layers:
                outputs -= 3
            if outputs < 1:
                raise ValueError(f"layer {index} of width {widths[index + 1]} has no room for {input_size} skip inputs")
            normalised = index in spec.norm_layers
            linear = WeightNormLinear if normalised and spec.weight_norm else nn.Linear
            self.add_module(f"lin{index}", linear(widths[index], outputs))
            if normalised and not spec.weight_norm and index + 1 < self.num_layers:
                self.add_module(f"bn{index}", nn.LayerNorm(outputs))

    def weights(self) -> MlpWeights:
        """The effective matrices for the kernel; differentiable, so training goes through here too."""
        layers = []
        for index in range(self.num_layers):
            linear, norm = getattr(self, f"lin{index}"), getattr(self, f"bn{index}", None)
            scale, shift = (None, None) if norm is None else (norm.weight, norm.bias)
            layers.append(Layer(linear.weight, linear.bias, scale, shift))
        spec = self.spec
        return MlpWeights(tuple(layers), spec.latent_size, spec.latent_in, spec.xyz_in_all, spec.use_tanh)

    def forward(self, points: Tensor, codes: Tensor, *, impl: Impl = "auto") -> Tensor:
        """Signed distance at canonical points [..., num_points, 3] under codes [..., latent_size]. [..., num_points]"""
        if self.training and (self.spec.dropout or self.spec.latent_dropout):
            return self._forward_with_dropout(points, codes)
        return sdf_mlp(points, codes, self.weights(), impl=impl)

    def _forward_with_dropout(self, points: Tensor, codes: Tensor) -> Tensor:
        spec = self.spec
        everywhere = codes[..., None, :].expand(*points.shape[:-1], -1)
        if spec.latent_dropout:
            everywhere = functional.dropout(everywhere, LATENT_DROPOUT)
        inputs = torch.cat([everywhere, points], dim=-1)
        hidden = inputs
        for index in range(self.num_layers):
            if index in spec.latent_in:
                hidden = torch.cat([hidden, inputs], dim=-1)
            elif index != 0 and spec.xyz_in_all:
                hidden = torch.cat([hidden, points], dim=-1)
            linear, norm = getattr(self, f"lin{index}"), getattr(self, f"bn{index}", None)
            hidden = functional.linear(hidden, linear.weight, linear.bias)
            if index + 1 < self.num_layers:
                hidden = torch.relu(hidden if norm is None else norm(hidden))
                if index in spec.dropout:
                    hidden = functional.dropout(hidden, spec.dropout_prob)
        return torch.tanh(torch.tanh(hidden) if spec.use_tanh else hidden)[..., 0]
