"""marcoamonteiro/pi-GAN, training: discriminators of several sizes and fades, R1, and one step of both networks."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from backend.generators.pigan.checkpoint import renamed
from backend.generators.pigan.discriminator import WIDTHS, Blocks, ProgressiveDiscriminator
from backend.generators.pigan.model import PiGAN, official_rays
from backend.training.adversarial.losses import discriminator_loss, generator_loss, gradient_penalty
from tests.parity.oracle import OracleSet, read_set
from tests.parity.systems import pigan

LATENT_DIM = 256

VARIANTS: dict[str, tuple[Blocks, int]] = {
    "ProgressiveDiscriminator": ("progressive", 0),
    "ProgressiveEncoderDiscriminator": ("progressive", LATENT_DIM),
    "StridedDiscriminator": ("strided", 0),
    "CCSDiscriminator": ("coordinates", 0),
    "CCSEncoderDiscriminator": ("coordinates", LATENT_DIM),
}
"""Official class → our blocks and width of the encoder."""

UNUSED = "pose_layer."
"""Parameters of the official classes that no image passes through."""


def discriminator(set: OracleSet, official_class: str, prefix: str) -> ProgressiveDiscriminator:
    """Return the official discriminator under `prefix`."""
    blocks, latent_dim = VARIANTS[official_class]
    last = 8 if blocks == "progressive" else 7  # index of the adapter of 2 x 2 pixels
    official = {k: v for k, v in set.weights_under(prefix).items() if not k.startswith(UNUSED)}
    first = min(int(name.split(".")[1]) for name in official if name.startswith("fromRGB"))
    widths = {side: set.meta["width_map"][str(width)] for side, width in WIDTHS.items() if str(width)}
    model = ProgressiveDiscriminator(2 ** (last + 1 - first), blocks, latent_dim, widths)
    model.load_state_dict({our_name(name, last): value for name, value in official.items()})
    return model.to(official["final_layer.weight"].dtype)


def our_name(official: str, last: int) -> str:
    """Return our name of an official parameter of a discriminator whose adapter of 2 × 2 pixels has index `last`."""

    def side(match: re.Match[str]) -> str:
        kind = "from_rgb" if match[1] == "fromRGB" else "blocks"
        return f"{kind}.{2 ** (last + 1 - int(match[2]))}."

    name = re.sub(r"^(fromRGB|layers)\.(\d+)\.", side, official)
    for old, new in (
        ("final_layer.", "head."), ("model.0.", ""), ("network.0.", "first."), ("network.2.", "second."),
        ("proj.", "projection."), (".conv.", "."),
    ):  # fmt: skip
        name = name.replace(old, new)
    return name


def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Every recorded output, from the set's inputs and weights."""
    out: dict[str, Tensor] = {}
    for official_class in VARIANTS:
        out |= _discriminator_outputs(set, official_class)
    return {name: value for name, value in out.items() if name in set.expected} | _step_outputs(set)


def _discriminator_outputs(set: OracleSet, official_class: str) -> dict[str, Tensor]:
    model = discriminator(set, official_class, f"{official_class}/")
    last = 8 if VARIANTS[official_class][0] == "progressive" else 7
    out: dict[str, Tensor] = {}
    for size in (8, 16, 32):
        for fade in (1.0, 0.35, 0.0):
            start = f"{official_class}/{size}/alpha{fade}"
            images = set.inputs[f"image{size}"].clone().requires_grad_()
            judged = model(images, fade)
            out[f"{start}/prediction"] = judged.score[:, None]
            if judged.latent is not None:
                out[f"{start}/latent"], out[f"{start}/position"] = judged.latent, judged.pose
            (out[f"{start}/grad_image"],) = torch.autograd.grad(judged.score.sum(), images, retain_graph=True)
            out[f"{start}/r1_penalty_unweighted"] = penalty = gradient_penalty(judged.score, images)
            if size == 32 and fade == 0.35:
                gradients = torch.autograd.grad(0.5 * 10 * penalty, list(model.parameters()), allow_unused=True)
                ours = dict(zip((name for name, _ in model.named_parameters()), gradients, strict=True))
                for name in set.expected:
                    if name.startswith(f"{official_class}/r1_lambda10_grad/"):
                        gradient = ours[our_name(name.split("/")[-1], last)]
                        out[name] = torch.zeros_like(set.expected[name]) if gradient is None else gradient
    return out


def _step_outputs(set: OracleSet) -> dict[str, Tensor]:
    step = set.meta["step"]
    options, fade = step["metadata"], step["alpha"]
    model = discriminator(set, step["discriminator"], "step/D/")
    real = set.inputs["image16"].clone().requires_grad_()
    base = read_set(set.path.parents[1] / "pigan.safetensors").to(real.dtype)
    generator = pigan.network(base).requires_grad_()
    generator.config = replace(generator.config, num_steps=options["num_steps"], last_back=options["last_back"])
    images, pose = _generated(generator, set.inputs, options)

    judged_real, judged_fake = model(real, fade), model(images.detach(), fade)
    penalty = 0.5 * options["r1_lambda"] * gradient_penalty(judged_real.score, real)
    identity = options["pos_lambda"] * F.mse_loss(judged_fake.pose, pose)
    loss = discriminator_loss("published", judged_real.score, judged_fake.score) + penalty + identity
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    d_gradients = dict(zip((name for name, _ in model.named_parameters()), gradients, strict=True))

    judged = model(images, fade)
    g_loss = generator_loss("published", judged.score) + options["pos_lambda"] * F.mse_loss(judged.pose, pose)
    gradients = torch.autograd.grad(g_loss, list(generator.parameters()))
    g_gradients = dict(zip((name for name, _ in generator.named_parameters()), gradients, strict=True))
    out = {
        "step/gen_images": images, "step/gen_positions": pose, "step/d_loss": loss, "step/d_r1": penalty,
        "step/d_identity": identity, "step/g_loss": g_loss, "step/r_preds": judged_real.score[:, None],
        "step/g_preds_for_d": judged_fake.score[:, None],
    }  # fmt: skip
    for name in set.expected:
        official = name.split("/")[-1]
        if name.startswith("step/grad_D/"):
            found = d_gradients[our_name(official, 7)]
            assert found is not None
            out[name] = found
        elif name.startswith("step/grad_G/"):
            out[name] = g_gradients[renamed(official)]
    return out


def _generated(generator: PiGAN, inputs: dict[str, Tensor], options: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return generated images and their poses [batch, 2] as pitch and yaw, with the recorded draws."""
    z, size, steps = inputs["step/z"], options["img_size"], options["num_steps"]
    yaw, pitch = (
        inputs[f"step/draw{i}_randn"][:, 0] * options[f"{axis}_stddev"] + options[f"{axis}_mean"]
        for i, axis in ((1, "h"), (2, "v"))
    )
    t = torch.linspace(options["ray_start"], options["ray_end"], steps).to(z).expand(len(z), size * size, steps)
    offsets = (inputs["step/draw0_rand"].squeeze(-1) - 0.5) * (t[..., 1:2] - t[..., 0:1])
    rays = official_rays(yaw, pitch, size, options["fov"], t, offsets)
    noise = [inputs[f"step/draw{i}_randn"].squeeze(-1) * options["nerf_noise"] for i in (3, 5)]
    u = inputs["step/draw4_rand"].unflatten(0, (len(z), -1))
    rendered = generator.render(
        generator.mapping_network(z), rays.origins, rays.directions, t + offsets, u=u, coarse_points=rays.points,
        density_noise=(noise[0], noise[1]),
    )  # fmt: skip
    images = rendered.rgb.transpose(1, 2).unflatten(2, (size, size)) * 2 - 1
    return images, torch.stack((pitch, yaw), -1)
