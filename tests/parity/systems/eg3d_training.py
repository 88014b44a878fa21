"""NVlabs/eg3d, training: dual discriminator → resizing, blur, schedules → the four phases of a step, with gradients."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backend.checkpoints.convert import replaced
from backend.generators.eg3d.checkpoint import RENAMED
from backend.generators.eg3d.discriminator import (
    DualDiscriminator,
    DualDiscriminatorConfig,
    resized,
    state_from_official,
)
from backend.generators.eg3d.model import EG3D, StyledConv
from backend.training.adversarial.losses import discriminator_loss, generator_loss, gradient_penalty
from backend.training.eg3d.config import published
from backend.training.eg3d.losses import blurred, density_variation, swapped
from backend.training.eg3d.rendering import render_features
from tests.parity.oracle import OracleSet, read_set
from tests.parity.systems import eg3d

NOT_REPRODUCED: dict[str, str] = {
    f"filtered_resizing/{mode}": "the recipes resize with antialiasing, as the official default does"
    for mode in ("none", "classic", "0.5")
} | {
    f"{phase}/report/Loss_signs_{which}": "the signs of the scores, which are compared"
    for phase, which in (("Gmain", "fake"), ("Dmain", "fake"), ("Dmain", "real"), ("Dreg", "real"))
}


def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Every recorded output, from the set's inputs and weights."""
    return _parts(set) | Phases(set).outputs()


def discriminator(set: OracleSet) -> tuple[DualDiscriminator, dict[str, str]]:
    """Return the set's discriminator, and our parameter name of each official one."""
    kwargs = set.meta["D_kwargs"]
    config = DualDiscriminatorConfig(
        kwargs["img_resolution"], kwargs["channel_base"], kwargs["channel_max"], kwargs["c_dim"],
        kwargs["mbstd_group_size"],
    )  # fmt: skip
    official = set.weights_under("D/")
    model = DualDiscriminator(config).to(official["b4.fc.weight"].dtype)
    model.load_state_dict(state_from_official(official, config))
    names = {name: torch.tensor(number) for number, name in enumerate(official)}
    ours = {int(number): name for name, number in state_from_official(names, config).items() if number.ndim == 0}
    return model, {name: ours[number] for number, name in enumerate(official) if number in ours}


def _parts(set: OracleSet) -> dict[str, Tensor]:
    model, inputs = discriminator(set)[0], set.inputs
    real, rays = inputs["real"], set.meta["neural_rendering_resolution"]
    images, raw = inputs["real"].clone().requires_grad_(), inputs["D/image_raw"].clone().requires_grad_()
    logits = model(images, raw, inputs["real_c"])
    to_images, to_raw = torch.autograd.grad(logits.sum(), (images, raw))
    schedule = replace(published(), final_neural_resolution=128)
    assert (schedule.swap_chance, schedule.blur_kimg) == (0.5, 200.0)
    rows = [
        (schedule.swap_chance_at(n), schedule.neural_resolution_at(n), schedule.blur_at(n))
        for n in map(int, inputs["schedule/cur_nimg"])
    ]
    return {
        "D/logits": logits,
        "D/grad_image": to_images,
        "D/grad_image_raw": to_raw,
        "D/image_raw_resized": resized(raw, images.shape[-1]),
        "filtered_resizing/antialiased": resized(real, rays),
        "schedule/swapprob_resolution_blursigma": torch.tensor(rows).to(real),
        "blur/image_sigma1.3": blurred(real, 1.3),
    }


class Phases:
    """The set's step: networks, random numbers, and the losses of the four phases."""

    def __init__(self, set: OracleSet):
        self.set, self.inputs = set, set.inputs
        base = read_set(set.path.parents[1] / "eg3d.safetensors").to(set.inputs["real"].dtype)
        self.generator: EG3D = eg3d.network(base).requires_grad_()
        for layer in self.generator.modules():
            if isinstance(layer, StyledConv) and layer.use_noise:
                layer.noise_strength.data.zero_()
        self.discriminator, self.names = discriminator(set)
        self.chance = published().swap_chance_at(set.meta["cur_nimg"]["Gmain"])

    def outputs(self) -> dict[str, Tensor]:
        """Reports, images and gradients of all phases."""
        out = self._generator_main() | self._generator_regularised()
        return out | self._discriminator_main() | self._discriminator_regularised()

    def _generated(self, phase: str) -> tuple[Tensor, Tensor, Tensor]:
        draws = [self.inputs[f"{phase}/draw{i}_{kind}"] for i, kind in enumerate(("rand", "rand_like", "rand"))]
        camera, generator = self.inputs["gen_c"], self.generator
        ws = generator.mapping(self.inputs["gen_z"], swapped(camera, camera.roll(1, 0), self.chance, draws[0]))
        pose, lens = camera[:, :16].unflatten(1, (4, 4)), camera[:, 16:].unflatten(1, (3, 3))
        features = render_features(
            generator, generator.backbone(ws), pose, lens, self.set.meta["neural_rendering_resolution"],
            jitter=draws[1], u=draws[2].unflatten(0, (len(ws), -1)),
        ).features  # fmt: skip
        return generator.superresolution(features, ws), features[:, :3], ws

    def _main(self, phase: str) -> tuple[dict[str, Tensor], Tensor]:
        image, raw, ws = self._generated(phase)
        scores = self.discriminator(image, raw, self.inputs["gen_c"])
        found = {"gen_image": image, "gen_image_raw": raw, "gen_ws": ws, "report/Loss_scores_fake": scores}
        return {f"{phase}/{name}": value for name, value in found.items()}, scores

    def _generator_main(self) -> dict[str, Tensor]:
        out, scores = self._main("Gmain")
        out["Gmain/report/Loss_G_loss"] = torch.stack([generator_loss("published", s) for s in scores])[:, None]
        return out | self._gradients("Gmain", generator_loss("published", scores))

    def _generator_regularised(self) -> dict[str, Tensor]:
        one, places, offsets = (self.inputs[f"Greg/draw{i}_{k}"] for i, k in enumerate(("rand", "rand", "randn_like")))
        ws = self.generator.mapping(
            self.inputs["gen_z"], swapped(self.inputs["gen_c"], self.inputs["gen_c"].roll(1, 0), self.chance, one)
        )
        offsets = offsets * self.set.meta["density_reg_p_dist"]
        loss = density_variation(self.generator, self.generator.backbone(ws), places, offsets)
        return self._gradients("Greg", self.set.meta["density_reg"] * loss)

    def _real(self) -> tuple[list[Tensor], Tensor]:
        real = self.inputs["real"].clone().requires_grad_()
        raw = resized(self.inputs["real"], self.set.meta["neural_rendering_resolution"]).requires_grad_()
        return [real, raw], self.discriminator(real, raw, self.inputs["real_c"])

    def _discriminator_main(self) -> dict[str, Tensor]:
        out, fake = self._main("Dmain")
        real = self._real()[1]
        out["Dmain/report/Loss_scores_real"] = real
        parts = [discriminator_loss("published", r, f) for r, f in zip(real, fake, strict=True)]
        out["Dmain/report/Loss_D_loss"] = torch.stack(parts)[:, None]
        return out | self._gradients("Dmain", discriminator_loss("published", real, fake))

    def _discriminator_regularised(self) -> dict[str, Tensor]:
        images, scores = self._real()
        gradients = torch.autograd.grad(scores.sum(), images, retain_graph=True)
        of_each = sum(g.square().sum(dim=(1, 2, 3)) for g in gradients)
        assert isinstance(of_each, Tensor)
        loss = self.set.meta["r1_gamma"] / 2 * gradient_penalty(scores, images)
        return {
            "Dreg/report/Loss_scores_real": scores,
            "Dreg/report/Loss_r1_penalty": of_each,
            "Dreg/report/Loss_D_reg": of_each * (self.set.meta["r1_gamma"] / 2),
        } | self._gradients("Dreg", loss)

    def _gradients(self, phase: str, loss: Tensor) -> dict[str, Tensor]:
        """Gradients of the recorded parameters, by official name; 0 where a loss does not reach them."""
        network = self.generator if phase.startswith("G") else self.discriminator
        parameters = dict(network.named_parameters())
        start = f"{phase}/grad_{phase[0]}/"
        wanted = [name.removeprefix(start) for name in self.set.expected if name.startswith(start)]
        ours = [replaced(name, RENAMED) if phase.startswith("G") else self.names[name] for name in wanted]
        found = torch.autograd.grad(loss, [parameters[name] for name in ours], retain_graph=True, allow_unused=True)
        return {
            start + name: torch.zeros_like(parameters[own]) if gradient is None else gradient
            for name, own, gradient in zip(wanted, ours, found, strict=True)
        }
