"""Official TensorFlow 1 variables -> our parameters."""

from __future__ import annotations

from torch import Tensor

from .model import HoloGANConfig


def config_from(variables: dict[str, Tensor]) -> HoloGANConfig:
    """Read the shape of the network off the generator's variables (names under `generator/`)."""
    large = "g_h7/weights" in variables
    return HoloGANConfig(
        side=128 if large else 64,
        channels=variables["g_h5/weights"].shape[2],
        z_dim=variables["g_w_constant/g_z0/w"].shape[0],
        num_volume_projections=sum(name.startswith("g_h2_proj") and name.endswith("weights") for name in variables),
        slope=0.2 if large else 0.0,
        constant_channels=variables["g_w_constant/w"].shape[-1],
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
