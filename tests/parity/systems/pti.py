"""danielroich/PTI: projection into w and w+ with noise images, tuning of the weights with and without locality, and
the ramps. The generator and the perceptual networks are the small stand-ins that the set describes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from backend.editing.inversion.projection import project
from backend.editing.inversion.schedules import pti_schedule
from backend.editing.inversion.tuning import Locality, image_loss, tune
from tests.parity.oracle import OracleSet


class StandIn:
    """The generator of the set."""

    def __init__(self, set: OracleSet) -> None:
        weights, meta = set.weights_under("standin/"), set.meta["standin"]
        self.mapping, self.basis, self.strength = (
            weights["mapping.A"],
            weights["synthesis.B"],
            weights["synthesis.strength"],
        )
        self.noise_images = [weights[f"synthesis.b{side}.noise_const"] for side in (8, 16)]
        self.num_ws, self.side = meta["num_ws"], meta["resolution"]

    def map(self, z: Tensor, psi: float = 1.0) -> Tensor:
        """Return ws [n, num_ws, channels] of z [n, z_dim]."""
        return psi * torch.tanh(z @ self.mapping)[:, None].repeat(1, self.num_ws, 1)

    def image(self, ws: Tensor, noise_images: Sequence[Tensor] = ()) -> Tensor:
        """Return images [n, 3, side, side] in −1..1 of ws [n, num_ws or 1, channels]."""
        x = torch.einsum("nlc,lcp->np", ws.expand(-1, self.num_ws, -1), self.basis).view(-1, 3, self.side, self.side)
        for strength, noise in zip(self.strength, noise_images, strict=False):
            x = x + strength * F.interpolate(noise[None, None], (self.side, self.side), mode="nearest")
        return torch.tanh(x)


def projection_features(image: Tensor) -> Tensor:
    """Return the set's stand-in of VGG features of an image in 0..255."""
    return torch.cat([F.avg_pool2d(image, 2).flatten() * 0.02, F.avg_pool2d(image, 4).flatten() * 0.05])


def tuning_distance(image: Tensor, target: Tensor) -> Tensor:
    """Return the set's stand-in of LPIPS."""
    return (F.avg_pool2d(image, 2) - F.avg_pool2d(target, 2)).abs().mean()


def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Every recorded output, from the set's inputs and weights."""
    out: dict[str, Tensor] = {}
    for steps in (450, 500, 1000):
        at = [pti_schedule(steps)[step] for step in set.inputs[f"ramp/{steps}_steps"].tolist()]
        out[f"ramp/{steps}_steps_lr"] = torch.tensor([rate.learning_rate for rate in at])
        out[f"ramp/{steps}_steps_noise_over_wstd"] = torch.tensor([rate.noise for rate in at])
    w = StandIn(set).map(set.inputs["w_stats_z"])[:, :1]
    mean = w.mean(0, keepdim=True)
    out["w_avg"], out["w_std"] = mean, ((w - mean).square().sum() / len(w)).sqrt()
    for space, rows in (("w", 1), ("w_plus", set.meta["standin"]["num_ws"])):
        out |= _projection(set, space, mean.repeat(1, rows, 1), out["w_std"])
    for name in ("tune", "tune_locality"):
        out |= _tuning(set, name)
    return out


def _projection(set: OracleSet, space: str, start: Tensor, deviation: Tensor) -> dict[str, Tensor]:
    generator, draws = StandIn(set), set.inputs[f"{space}/w_noise_normal"]
    latent = start.clone().requires_grad_()
    noise_images = [set.inputs[f"{space}/noise_buffer{side}_init"].clone().requires_grad_() for side in (8, 16)]
    wanted = projection_features(set.inputs["target_0_255"][None])

    def distance(ws: Tensor) -> Tensor:
        made = (generator.image(ws, noise_images) + 1) * (255 / 2)
        return (projection_features(made) - wanted).square().sum()

    schedule = pti_schedule(len(draws))
    out = {f"{space}/w_start": start, f"{space}/learning_rate": torch.tensor([rate.learning_rate for rate in schedule])}
    losses = []
    steps = project(latent, distance, schedule, lambda step: deviation * draws[step], noise_images=noise_images)
    for number, loss in enumerate(steps):
        losses.append(loss)
        if number == 0:
            assert latent.grad is not None
            assert noise_images[0].grad is not None
            out[f"{space}/grad_w_step0"] = latent.grad.clone()
            out[f"{space}/grad_noise8_step0"] = noise_images[0].grad.clone()
            out[f"{space}/w_after_1"] = latent.detach().clone()
        if number + 1 == len(draws) // 2:
            out[f"{space}/w_mid"] = latent.detach().clone()
    out[f"{space}/loss"], out[f"{space}/w_final"] = torch.tensor(losses), latent
    out[f"{space}/noise8_final"], out[f"{space}/noise16_final"] = noise_images
    return out


def _tuning(set: OracleSet, name: str) -> dict[str, Tensor]:
    generator, before = StandIn(set), StandIn(set)
    weights = [x.clone().requires_grad_() for x in (generator.basis, generator.strength)]
    generator.basis, generator.strength = weights
    pivot, target = set.expected["w_plus/w_final"], set.inputs["tune/target"]
    locality = None
    out: dict[str, Tensor] = {}
    if name == "tune_locality":
        draws = set.inputs["tune_locality/locality_z"]
        locality = Locality(
            lambda ws, _: before.image(ws),
            lambda ws, _: generator.image(ws),
            pivot,
            lambda step: before.map(draws[step : step + 1], psi=0.5),
        )
        out["tune_locality/morphed_w_step0"] = locality.at(0)
    steps = tune(
        weights,
        lambda: image_loss(generator.image(pivot, generator.noise_images), target, tuning_distance),
        perceptual=tuning_distance,
        locality=locality,
        steps=len(set.expected[f"{name}/loss"]),
    )
    losses = []
    for number, step in enumerate(steps):
        losses.append(step)
        if number == 0:
            assert generator.basis.grad is not None
            assert generator.strength.grad is not None
            out[f"{name}/grad_B_step0"] = generator.basis.grad.clone()
            out[f"{name}/grad_strength_step0"] = generator.strength.grad.clone()
    for index, what in enumerate(("loss", "l2", "lpips")):
        out[f"{name}/{what}"] = torch.tensor([step[index] for step in losses])
    return out | {f"{name}/B_final": generator.basis, f"{name}/strength_final": generator.strength}
