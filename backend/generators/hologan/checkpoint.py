"""Official TensorFlow 1 variables -> our parameters.

A Saver's checkpoint holds the generator under `generator/`, and the discriminator and both optimisers beside it, which
are left out. Their names: `g_h<n>` convolutions in order, `g_z<n>` the styles after them, `g_h2_proj<n>` the 3D
convolutions after the rotation, `g_w_constant` the learnt volume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from addon.wire.errors import UnknownCheckpoint

from ...checkpoints.convert import ConvertedModel, bijection
from .model import Generator, HoloGANConfig
from .scene import Facing

SIDES = (64, 128)
"""Pixels along a side of the official networks."""

LICENCE = "none stated by the authors (thunguyenphuoc/HoloGAN): all rights reserved"

OPTIMISER = ("/Adam", "/Adam_1")
"""Ends of the names of a variable's running moments."""


def config_from(variables: dict[str, Tensor]) -> HoloGANConfig:
    """Read the shape of the network off the generator's variables (names under `generator/`)."""

    def outputs(name: str) -> int:  # of a transposed convolution, [kernel..., out, in]
        return variables[f"{name}/weights"].shape[-2]

    last = max(int(name[3]) for name in variables if name.startswith("g_h"))
    turned = sum(name.startswith("g_h2_proj") and name.endswith("weights") for name in variables)
    return HoloGANConfig(
        z_dim=variables["g_w_constant/g_z0/w"].shape[0],
        constant_channels=variables["g_w_constant/w"].shape[-1],
        volume_channels=(outputs("g_h1"), outputs("g_h2")),
        turned_channels=tuple(outputs(f"g_h2_proj{i + 1}") for i in range(turned)),
        projected=outputs("g_h3"),
        image_channels=tuple(outputs(f"g_h{i}") for i in range(4, last)),
        slope=0.2 if last == 7 else 0.0,  # generator_AdaIN is ReLU, generator_AdaIN_res128 leaky
    )


def generator_parameters(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return our parameters of the generator's variables (names under `generator/`).

    Raises:
        ValueError: a variable has no place in a HoloGAN generator.
    """
    names = {"g_w_constant/g_z0": "style_constant.linear", "g_h3": "projection"}
    last = max(int(name[3]) for name in variables if name.startswith("g_h"))
    names[f"g_h{last}"] = "output"
    for i in (1, 2):
        names[f"g_h{i}"], names[f"g_z{i}"] = f"grow.{i - 1}", f"style_grow.{i - 1}.linear"
        names[f"g_h2_proj{i}"] = f"volume_projection.{i - 1}"
    for i in range(4, last):
        names[f"g_h{i}"], names[f"g_z{i}"] = f"upsample.{i - 4}", f"style_upsample.{i - 4}.linear"
    ours = {}
    for variable, value in variables.items():
        if variable == "g_w_constant/w":
            ours["constant"] = value.permute(3, 0, 1, 2)
            continue
        layer, _, part = variable.rpartition("/")
        if layer not in names:
            raise ValueError(f"not a HoloGAN generator: {variable!r} has no place in it")
        if part == "biases":
            ours[f"{names[layer]}.bias"] = value
        elif part == "w":  # linear, [in, out]
            ours[f"{names[layer]}.weight"] = value.T
        else:  # transposed convolution, [kernel..., out, in] -> [in, out, kernel...]
            ours[f"{names[layer]}.weight"] = value.permute(-1, -2, *range(value.dim() - 2))
    return {name: value.contiguous() for name, value in ours.items()}


def _generator(tree: object) -> dict[str, Tensor]:
    """Return the generator's variables without their prefix; empty if it is not a HoloGAN."""
    if not isinstance(tree, Mapping):
        return {}
    prefix = "generator/"
    found = {
        str(name).removeprefix(prefix): value
        for name, value in tree.items()
        if str(name).startswith(prefix) and not str(name).endswith(OPTIMISER) and isinstance(value, Tensor)
    }
    return found if "g_w_constant/w" in found and "g_h3/weights" in found else {}


def recognise(tree: object) -> bool:
    """Return whether a tree is an official HoloGAN checkpoint."""
    return bool(_generator(tree))


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert the variables of a TensorFlow checkpoint.

    Raises:
        UnknownCheckpoint: the tensors do not fit a HoloGAN, or it has another size than the official ones.
    """
    variables = _generator(tree)
    if not variables:
        raise UnknownCheckpoint(f"{path.name} holds no HoloGAN generator: no generator/g_w_constant.")
    config = config_from(variables)
    if config.side not in SIDES:
        raise UnknownCheckpoint(
            f"{path.name} makes images of {config.side}²; HoloGANs of {SIDES[0]}² and {SIDES[1]}² can be imported."
        )
    with torch.device("meta"):
        network = Generator(config)
    tensors = bijection(generator_parameters(variables), network.state_dict())
    return ConvertedModel(
        kind="hologan",
        constructor={"network": dataclasses.asdict(config), "facing": dataclasses.asdict(Facing())},
        tensors=tensors,
        licence=LICENCE,
        non_commercial=True,
        description="HoloGAN: images of one object class from features that are rotated in 3D; no surface",
        card=(
            "Imported from an official HoloGAN checkpoint (arXiv:1904.01326).\n\n"
            "The file does not say which views it was trained on. The release's settings for faces are assumed: azimuth"
            " 220° to 320° with the front at 270°, elevation 20° up and down, no scaling. The image is shown as if "
            "it had been rendered from a distance of four with a field of view of 28°."
        ),
    )


def discriminator_parameters(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return our parameters of the discriminator's variables. The style discriminator's heads are not used."""
    ours = {}
    for variable, value in variables.items():
        layer, _, part = variable.rpartition("/")
        if layer.endswith("_class"):
            continue
        if layer.endswith("_conv"):
            i = int(layer[3])
            if part == "u":
                ours[f"u{i}"] = value
            else:
                ours[f"convolutions.{i}.{'bias' if part == 'biases' else 'weight'}"] = (
                    value if part == "biases" else value.permute(3, 2, 0, 1)
                )
        elif layer.startswith("d_in"):
            ours[f"norms.{int(layer[4:]) - 1}.{'bias' if part == 'offset' else 'weight'}"] = value
        else:
            name = {"d_latent": "latent.0", "d_latent_prediction": "latent.2"}.get(layer, "logit")
            ours[f"{name}.{'bias' if part == 'biases' else 'weight'}"] = value if part == "biases" else value.T
    return {name: value.contiguous() for name, value in ours.items()}
