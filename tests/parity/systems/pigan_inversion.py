"""marcoamonteiro/pi-GAN, inversion: offsets of frequencies and phases, by the published schedule and a shorter one."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from backend.editing.inversion.projection import project
from backend.editing.inversion.schedules import pigan_schedule
from backend.generators.pigan.model import official_rays
from tests.parity.oracle import OracleSet, read_set
from tests.parity.systems import pigan

WEIGHT_DECAY = 1e-4


def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Every recorded output, from the set's inputs and the weights of the set that it names."""
    at = [pigan_schedule()[step] for step in set.inputs["schedule/step"].tolist()]
    out = {
        "schedule/lr": torch.tensor([rate.learning_rate for rate in at]),
        "schedule/noise_scale": torch.tensor([rate.noise for rate in at]),
    }
    for name in ("official_schedule", "compressed_schedule"):
        out |= _inversion(set, name)
    return out


def _inversion(set: OracleSet, name: str) -> dict[str, Tensor]:
    base = read_set(set.path.parents[1] / "pigan.safetensors").to(set.inputs["target"].dtype)
    generator, options, times = pigan.network(base).requires_grad_(False), set.meta["options"], set.meta[name]
    size, samples = options["img_size"], options["num_steps"]
    generator.config = replace(generator.config, hierarchical=options["hierarchical_sample"], last_back=False)
    target = set.inputs["target"]
    mean = torch.cat([set.inputs["mean_frequencies"], set.inputs["mean_phase_shifts"]], -1)
    t = torch.linspace(options["ray_start"], options["ray_end"], samples).to(mean).expand(1, size * size, samples)
    yaw, pitch = (mean.new_tensor([options[axis]]) for axis in ("h_mean", "v_mean"))
    jitter = iter(set.inputs[f"{name}/jitter_rand"].squeeze(-1))

    def distance(offsets: Tensor) -> Tensor:
        parts = (mean + offsets).chunk(2, -1)
        ws = torch.cat([x.unflatten(-1, (generator.config.num_ws, -1)) for x in parts], -1)
        shift = (next(jitter) - 0.5) * (t[..., 1:2] - t[..., 0:1])
        rays = official_rays(yaw, pitch, size, options["fov"], t, shift)
        made = generator.render(ws, rays.origins, rays.directions, t + shift, coarse_points=rays.points)
        return F.mse_loss(made.rgb[0].T.unflatten(1, (size, size)) * 2 - 1, target)

    draws = torch.cat([set.inputs[f"{name}/normal_{part}"] for part in ("frequencies", "phases")], -1)
    schedule = pigan_schedule(times["n_iterations_in_noise_formula"], hold=times["lr_step_size"])[: times["steps"]]
    offsets = torch.zeros_like(mean).requires_grad_()
    steps = project(offsets, distance, schedule, lambda step: draws[step], weight_decay=WEIGHT_DECAY)
    out = {f"{name}/learning_rate": torch.tensor([rate.learning_rate for rate in schedule])}
    losses = []
    for number, loss in enumerate(steps, 1):
        losses.append(loss)
        found = {f"{{}}_offsets_after_{number}": offsets}
        if number == 1:
            assert offsets.grad is not None
            found["grad_{}_step0"] = offsets.grad
        for what, tensor in found.items():
            frequencies, phases = tensor.detach().clone().chunk(2, -1)
            plural = what.startswith("grad")
            out[f"{name}/{what.format('frequencies' if plural else 'frequency')}"] = frequencies
            out[f"{name}/{what.format('phases' if plural else 'phase')}"] = phases
    out[f"{name}/loss"] = torch.tensor(losses)
    return {key: value for key, value in out.items() if key in set.expected}
