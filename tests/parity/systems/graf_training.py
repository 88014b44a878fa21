"""autonomousvision/graf, training: discriminator → patch sampler → patches of images → one step of both networks."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backend.generators.graf.discriminator import PatchDiscriminator
from backend.training.adversarial.losses import discriminator_loss, generator_loss, gradient_penalty
from backend.training.graf.patches import PatchScales, patch_places, patches_at
from tests.parity.oracle import OracleSet, read_set
from tests.parity.systems import graf

PARAMETERS = {
    "pts_linears.": "layers.",
    "views_linears.0.": "color_layer.",
    "alpha_linear.": "density.",
    "rgb_linear.": "color.",
}
"""Start of an official parameter name of the generator → ours."""


def discriminator(set: OracleSet, prefix: str, size: int) -> PatchDiscriminator:
    """Return the official discriminator under `prefix`, whose layers have our order."""
    official = set.weights_under(prefix)
    model = PatchDiscriminator(size, set.meta["ndf"]).to(official["main.0.weight_orig"].dtype)
    model.load_state_dict(
        {name.replace("main.", "layers.").replace("weight_orig", "weight"): value for name, value in official.items()}
    )
    return model


def as_patches(pixels: Tensor, batch: int) -> Tensor:
    """Return patches [batch, 3, side, side] of official pixels [batch · side², 3], row by row."""
    side = round((len(pixels) / batch) ** 0.5)
    return pixels.unflatten(0, (batch, side, side)).permute(0, 3, 1, 2)


def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Every recorded output, from the set's inputs and weights."""
    out: dict[str, Tensor] = {}
    for size in (32, 64, 128):
        out |= _discriminator_outputs(set, size)
    out |= _sampler_outputs(set)
    places = out["sampler/coordinates"]
    return out | _patch_outputs(set, places) | _step_outputs(set)


def _discriminator_outputs(set: OracleSet, size: int) -> dict[str, Tensor]:
    name = f"D{size}"
    model = discriminator(set, f"{name}/", size)
    pixels = set.inputs[f"{name}/pixels"].clone().requires_grad_()
    patches = as_patches(pixels, set.expected[f"{name}/eval"].shape[0])
    out: dict[str, Tensor] = {}
    with torch.no_grad():
        out[f"{name}/eval"] = model.eval()(patches)
    first = model.train()(patches)
    out[f"{name}/train_first_call"] = first
    for key, value in model.state_dict().items():
        if key.endswith("weight_u"):
            out[f"{name}/after_one_train_call/{key.replace('layers.', 'main.')}"] = value
    (gradient,) = torch.autograd.grad(first.sum(), pixels)
    summed = set.expected[f"{name}/grad_pixels"].ndim == 1  # the largest one is recorded as its sum over pixels
    out[f"{name}/grad_pixels"] = gradient.sum(0) if summed else gradient
    out[f"{name}/grad2_per_sample"] = gradient.unflatten(0, (len(first), -1)).square().sum((1, 2))
    out[f"{name}/train_second_call"] = model(patches)
    return {key: value.reshape(value.shape[0], 1, 1, 1) if _is_score(key) else value for key, value in out.items()}


def _is_score(key: str) -> bool:
    return key.endswith(("/eval", "_call"))


def _sampler_outputs(set: OracleSet) -> dict[str, Tensor]:
    scales = PatchScales()
    draws, bits = set.inputs["sampler/u_scale_hoff_woff"], set.inputs["sampler/sign_bits_h_w"]
    smallest = torch.tensor([scales.smallest_at(int(step)) for step in set.inputs["sampler/iterations"]]).to(draws)
    scale = smallest + draws[:, 0] * (scales.largest - smallest)
    offsets = draws[:, 1:] * (2 * bits - 1)
    limits = torch.stack((smallest, torch.full_like(smallest, scales.largest), 1 - scale), -1)
    return {
        "sampler/coordinates": patch_places(32, scale, offsets),
        "sampler/scale": scale,
        "sampler/minscale_maxscale_maxoffset": limits,
    }


def _patch_outputs(set: OracleSet, places: Tensor) -> dict[str, Tensor]:
    images = set.inputs["patch/images"]
    return {"patch/pixels": patches_at(images, places[: len(images)]).permute(0, 2, 3, 1).flatten(0, 2)}


def _step_outputs(set: OracleSet) -> dict[str, Tensor]:
    step, inputs = set.meta["step"], set.inputs
    real = inputs["step/real_pixels"]
    base = read_set(set.path.parents[1] / "graf.safetensors").to(real.dtype)
    generator = graf.network(base).requires_grad_()
    generator.config = replace(generator.config, num_samples=step["config"]["nerf"]["N_samples"])
    model = discriminator(set, "step/D/", 32).train()
    z = inputs["step/z"]
    origins, directions = inputs["step/rays"].unflatten(1, (len(z), -1))

    def generated(draws: tuple[Tensor, Tensor]) -> Tensor:
        jitter, noise = (draw.unflatten(0, (len(z), -1)) for draw in draws)
        ws = generator.ws_from_z(z)
        noise = noise * step["raw_noise_std"]
        rgb = generator.render(ws, origins, directions, jitter=jitter, density_noise=noise).rgb * 2 - 1
        return as_patches(rgb.flatten(0, 1), len(z))

    def draws(of: str) -> tuple[Tensor, Tensor]:
        return inputs[f"step/{of}_draw0_rand"], inputs[f"step/{of}_draw1_randn"]

    real_patches = as_patches(real, len(z)).requires_grad_()
    real_scores = model(real_patches)
    # official rows are pixels, so its mean over the batch is one over pixels
    penalty = step["reg_param"] * gradient_penalty(real_scores, real_patches) * len(z) / len(real)
    loss = discriminator_loss("published", real_scores, model(generated(draws("D")).detach()))
    out = {"step/d_loss": loss, "step/regulariser": penalty}
    names, parameters = zip(*model.named_parameters(), strict=True)
    for name, gradient in zip(names, torch.autograd.grad(loss + penalty, parameters), strict=True):
        out[f"step/grad_D/{name.replace('layers.', 'main.')}_orig"] = gradient
    out["step/g_loss"] = generator_loss("published", model(generated(draws("G"))))
    out["step/g_loss"].backward()
    gradients = {name: parameter.grad for name, parameter in generator.named_parameters()}
    for name in set.expected:
        if name.startswith("step/grad_G/"):
            official = name.removeprefix("step/grad_G/")
            for start, ours in PARAMETERS.items():
                if official.startswith(start):
                    out[name] = gradients[official.replace(start, ours)]
    return out
