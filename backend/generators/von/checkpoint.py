"""Official VON files → ours: three bare state dicts in one folder, `latest_net_G_3D.pth`, `latest_net_G_AB.pth` and, for
taking the texture of a picture, `latest_net_E.pth`.

    G_3D   block_0.0.weight …                    ShapeNetwork
    G_AB   enc_content.model.0.conv.weight …     TextureNetwork
    E      enc_style.model.0.conv.weight …       TextureEncoder
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from ...checkpoints.convert import bijection, replaced
from .networks import ShapeNetwork, TextureEncoder, TextureNetwork

SHAPE = ((r"^block_(\d+)\.", r"layers.\1."), (r"^toRGB_\d+\.0\.", "output."))
TEXTURE = (
    (r"^enc_content\.model\.([012])\.conv\.", r"encoder.\1.conv."),
    (r"^enc_content\.model\.3\.model\.(\d+)\.model\.0\.", r"encoder_blocks.\1.first."),
    (r"^enc_content\.model\.3\.model\.(\d+)\.model\.1\.", r"encoder_blocks.\1.second."),
    (r"^dec\.resnet_block\.model\.(\d+)\.model\.0\.", r"decoder_blocks.\1.first."),
    (r"^dec\.resnet_block\.model\.(\d+)\.model\.1\.", r"decoder_blocks.\1.second."),
    (r"^dec\.block_([01])\.1\.conv\.", r"upsample.\1.conv."),
    (r"^dec\.block_([01])\.1\.norm\.", r"norms.\1."),
    (r"^dec\.block_2\.conv\.", "output.conv."),
)
ENCODER = (
    (r"^enc_style\.model\.(\d)\.conv\.", r"layers.\1.conv."),
    (r"^enc_style\.fc_mean\.", "mean."),
    (r"^enc_style\.fc_var\.", "log_variance."),
)


def _named(patterns: tuple[tuple[str, str], ...]) -> Callable[[str], str]:
    return lambda name: replaced(name, patterns)


def shape_network(official: Mapping[str, Tensor]) -> ShapeNetwork:
    """Return the shape network of the official state dict of G_3D."""
    depth = max(int(match[1]) for match in map(re.compile(r"^block_(\d+)\.").match, official) if match) + 1
    widths = tuple(official[f"block_{i}.0.weight"].shape[1] for i in range(depth))
    network = ShapeNetwork(official["block_0.0.weight"].shape[0], widths).to(official["block_0.0.weight"].dtype)
    network.load_state_dict(bijection(official, network.state_dict(), rename=_named(SHAPE)))
    return network.eval().requires_grad_(False)


def texture_network(official: Mapping[str, Tensor]) -> TextureNetwork:
    """Return the texture network of the official state dict of G_AB."""
    first, last = official["enc_content.model.0.conv.weight"], official["dec.block_2.conv.weight"]
    blocks = 1 + max(int(name.split(".")[3]) for name in official if name.startswith("dec.resnet_block.model."))
    width = first.shape[0]
    network = TextureNetwork(
        last.shape[1] - width, width, inputs=first.shape[1], outputs=last.shape[0], blocks=blocks
    ).to(first.dtype)
    network.load_state_dict(bijection(official, network.state_dict(), rename=_named(TEXTURE)))
    return network.eval().requires_grad_(False)


def texture_encoder(official: Mapping[str, Tensor]) -> TextureEncoder:
    """Return the encoder of the official state dict of E."""
    first, mean = official["enc_style.model.0.conv.weight"], official["enc_style.fc_mean.weight"]
    network = TextureEncoder(mean.shape[0], first.shape[0]).to(first.dtype)
    network.load_state_dict(bijection(official, network.state_dict(), rename=_named(ENCODER)))
    return network.eval().requires_grad_(False)
