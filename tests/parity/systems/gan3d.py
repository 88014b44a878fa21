"""3D-GAN, against its PyTorch port."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backend.generators.gan3d.model import Discriminator, Generator
from tests.parity.oracle import OracleSet


def _load(network: nn.Module, official: dict[str, Tensor]) -> None:
    depth = max(int(name.split(".")[0].removeprefix("layer")) for name in official)
    renamed = {}
    for name, value in official.items():
        layer, rest = name.split(".", 1)
        number = int(layer.removeprefix("layer"))
        renamed[f"output.{rest.removeprefix('0.')}" if number == depth else f"layers.{number - 1}.{rest}"] = value
    network.load_state_dict(renamed)
    network.eval().to(next(v.dtype for v in official.values() if v.is_floating_point()))


@torch.no_grad()
def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Hidden layers, voxels and the discriminator's verdict on them."""
    official = set.weights_under("generator.")
    depth = sum(name.endswith("0.weight") for name in official)
    generator = Generator(set.meta["constructor"]["dim_z"], set.meta["constructor"]["ch"], 4 << (depth - 1))
    _load(generator, official)
    z = set.inputs["z"]
    features, voxels = generator.features(z), generator(z)
    found = {f"layer{i}_out": value for i, value in enumerate(features, start=1)}
    for name, expected in set.expected.items():  # a set may keep only the first channels of a layer
        if name in found:
            found[name] = found[name][:, : expected.shape[1]]
    found |= {f"voxels_b{i}": value for i, value in enumerate(voxels)}
    found |= {f"voxels_b{i}_stride2": value[::2, ::2, ::2] for i, value in enumerate(voxels)}
    discriminator = Discriminator(set.meta["d_constructor"]["ch"], voxels.shape[-1])
    _load(discriminator, set.weights_under("discriminator."))
    found["d_prob"] = discriminator(voxels)
    return {name: value for name, value in found.items() if name in set.expected}
