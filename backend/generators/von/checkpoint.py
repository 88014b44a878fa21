"""Official VON files → ours: bare state dicts in one folder, `latest_net_G_3D.pth`, `latest_net_G_AB.pth` and, where
textures are to be taken from images, `latest_net_E.pth`.

    G_3D   block_0.0.weight …                    ShapeNetwork
    G_AB   enc_content.model.0.conv.weight …     TextureNetwork
    E      enc_style.model.0.conv.weight …       TextureEncoder
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from addon.wire.errors import UnknownCheckpoint

from ...checkpoints.convert import CheckpointFolder, ConvertedModel, bijection, replaced, state_dict
from .model import ShapeNetwork, TextureEncoder, TextureNetwork
from .scene import VON, VONConfig

SIDES = (32, 64, 128)
"""Voxels of a side that the release has networks for."""
CLASSES = ("networks.", "networks_3d.", "models.")
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "VON (research and evaluation only, no commercial use; junyanz/VON)"
CARD = """Imported from official Visual Object Networks: a shape network of {side}³ voxels with a code of {shape_dim}
numbers, a texture network with a code of {texture_dim}.

- Paper: Zhu et al. 2018, arxiv.org/abs/1812.02725. The licence of the release allows research only.
- The files do not say whether the shape network makes occupancies or distance fields; {quantity} are taken, {reason}.
- {transfer}
"""

FILES = {"G_3D": "block_0.0.weight", "G_AB": "enc_content.model.0.conv.weight", "E": "enc_style.model.0.conv.weight"}
"""Each network → a tensor by which it is known."""

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
    depth = max(_blocks(official)) + 1
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


def _network(tree: object, name: str) -> dict[str, Tensor]:
    """Return the state dict of G_3D, G_AB or E in a tree; empty if there is none."""
    if isinstance(tree, CheckpointFolder):
        for file in tree.matching(f"*net_{name}*.pth"):
            found = _network(tree[file], name)
            if found:
                return found
        return {}
    weights = state_dict(tree)
    return weights if FILES[name] in weights else {}


def recognise(tree: object) -> bool:
    """Say whether a tree is a folder of VON's networks, or one of them."""
    return any(_network(tree, name) for name in FILES)


def convert(tree: object, path: Path) -> ConvertedModel:
    """Return the networks as our model.

    Raises:
        UnknownCheckpoint: a network is missing, or the voxels are of no resolution that the release has.
    """
    shape_weights, texture_weights, encoder_weights = (_network(tree, name) for name in FILES)
    if not shape_weights or not texture_weights:
        there = [name for name in FILES if _network(tree, name)]
        raise UnknownCheckpoint(
            f"{path.name} holds {' and '.join(there) or 'none'} of VON's networks. Choose the folder that has "
            "latest_net_G_3D.pth (shape) and latest_net_G_AB.pth (texture)."
        )
    side = 4 << (1 + max(_blocks(shape_weights)))
    stated = next((int(m[1]) for m in map(re.compile(r"^toRGB_(\d+)\.").match, shape_weights) if m), side)
    if side not in SIDES or stated != side:
        raise UnknownCheckpoint(
            f"{path.name} has a shape network of {1 + max(_blocks(shape_weights))} blocks for {stated}³ voxels; VON's "
            f"make {', '.join(f'{n}³ of {n.bit_length() - 3}' for n in SIDES)}."
        )
    if texture_weights[FILES["G_AB"]].shape[1] != 1:
        raise UnknownCheckpoint(
            f"The texture network of {path.name} takes {texture_weights[FILES['G_AB']].shape[1]} channels; VON's takes "
            "one, the depth."
        )
    shape, texture = shape_network(shape_weights), texture_network(texture_weights)
    encoder = texture_encoder(encoder_weights) if encoder_weights else None
    distances = re.search(r"(^|[^a-z])df([^a-z]|$)", path.name.lower()) is not None
    config = VONConfig(
        shape_dim=shape_weights["block_0.0.weight"].shape[0],
        shape_widths=tuple(shape_weights[f"block_{i}.0.weight"].shape[1] for i in _blocks(shape_weights)),
        distances=distances,
        texture_dim=texture.z_dim,
        texture_width=texture_weights[FILES["G_AB"]].shape[0],
        blocks=len(texture.decoder_blocks),
        encoder_width=encoder_weights[FILES["E"]].shape[0] if encoder_weights else 0,
    )
    model = VON(config)
    model.shape, model.texture, model.encoder = shape, texture, encoder
    return ConvertedModel(
        kind="von",
        constructor=dataclasses.asdict(config),
        tensors=model.state_dict(),
        licence=LICENCE,
        non_commercial=True,
        label=f"VON {path.name}",
        description=f"Visual Object Networks: voxels of {side}³, painted from any side of the front",
        card=CARD.format(
            side=side,
            shape_dim=config.shape_dim,
            texture_dim=config.texture_dim,
            quantity="distance fields" if distances else "occupancies",
            reason=f"because the folder's name {'has' if distances else 'has no'} “df” in it",
            transfer=(
                "Textures can be taken from images."
                if encoder_weights
                else "There is no latest_net_E.pth: textures cannot be taken from images."
            ),
        ),
    )


def _blocks(official: Mapping[str, Tensor]) -> list[int]:
    return sorted({int(match[1]) for match in map(re.compile(r"^block_(\d+)\.").match, official) if match})
