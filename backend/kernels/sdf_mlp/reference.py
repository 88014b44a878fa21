"""The definition: plain torch, the code repeated beside every point."""

import torch
from torch import Tensor
from torch.nn import functional

from .weights import MlpWeights


def sdf_mlp_reference(points: Tensor, codes: Tensor, weights: MlpWeights) -> Tensor:
    """See `sdf_mlp`."""
    everywhere = codes[..., None, :].expand(*points.shape[:-1], -1)
    inputs = torch.cat([everywhere, points], dim=-1)
    hidden = inputs
    for index, layer in enumerate(weights.layers):
        if index in weights.latent_in:
            hidden = torch.cat([hidden, inputs], dim=-1)
        elif index != 0 and weights.xyz_in_all:
            hidden = torch.cat([hidden, points], dim=-1)
        hidden = functional.linear(hidden, layer.weight, layer.bias)
        if index < len(weights.layers) - 1:
            if layer.norm_weight is not None:
                hidden = functional.layer_norm(hidden, hidden.shape[-1:], layer.norm_weight, layer.norm_bias)
            hidden = torch.relu(hidden)
    if weights.use_tanh:
        hidden = torch.tanh(hidden)
    return torch.tanh(hidden)[..., 0]
