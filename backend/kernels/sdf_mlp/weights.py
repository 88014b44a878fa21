"""Weights of the DeepSDF decoder, shared by all engines of `sdf_mlp`."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """One linear layer, and the LayerNorm after it where the network has one."""

    weight: Tensor  # [out, in]
    bias: Tensor  # [out]
    norm_weight: Tensor | None = None  # [out]
    norm_bias: Tensor | None = None  # [out]


@dataclass(frozen=True)
class MlpWeights:
    """The whole network. Every layer but the last is followed by LayerNorm (if any) and ReLU."""

    layers: tuple[Layer, ...]
    latent_size: int
    latent_in: tuple[int, ...] = ()  # layers whose input is [hidden, code, point]
    xyz_in_all: bool = False  # the other hidden layers read [hidden, point]
    use_tanh: bool = False  # one more tanh before the last one, which is always there
