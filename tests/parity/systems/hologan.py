"""HoloGAN, against the official TensorFlow 1 graph."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.generators.hologan import checkpoint
from backend.generators.hologan.model import Discriminator, Generator, rotate_volume, towards_image
from tests.parity.oracle import OracleSet


def _channels_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


@torch.no_grad()
def outputs(set: OracleSet) -> dict[str, Tensor]:
    """The volume before and after rotation, the image, the discriminator, and the resampling of known voxels."""
    variables = set.weights_under("generator/")
    generator = Generator(checkpoint.config_from(variables)).to(set.inputs["z"].dtype)
    generator.load_state_dict(checkpoint.generator_parameters(variables))
    z, view = set.inputs["z"], set.inputs["view"]
    volume = generator.volume(z)
    rotated = rotate_volume(volume, view)
    known = _channels_first(set.inputs["known_voxels"])
    found = {
        "vox_in": _channels_last(volume),
        "vox_rot": _channels_last(rotated),
        "G": _channels_last(generator.project(rotated, z)),
        "rot_known": _channels_last(rotate_volume(known, set.inputs["known_view"])),
        "match_image_known": _channels_last(towards_image(known)),
    }
    variables = set.weights_under("discriminator/")
    parameters = checkpoint.discriminator_parameters(variables)
    convolutions = sum(name.startswith("convolutions.") and name.endswith("weight") for name in parameters)
    images = _channels_first(set.inputs["real_images"])
    first = parameters["convolutions.0.weight"]
    discriminator = Discriminator(first.shape[0], convolutions, z.shape[-1], images.shape[-1]).to(z.dtype)
    discriminator.load_state_dict(parameters)
    found["D_logits_real"] = discriminator(images)[0]
    return {name: value for name, value in found.items() if name in set.expected}
