"""Fit π-GAN or GRAF to a solid object: weights with mostly empty or hidden space, for measurements.

`python -m backend train solid-object --kind pigan --out FOLDER` fits the published network, at its published size, to a
coloured block with rounded edges that fills about a third of the model's box. The latent of seed 0 shows it. Density
and colour are fitted at points directly, half of them in the whole volume that rays cross, half near the surface
(without images or a discriminator: the weights only serve to measure rendering). The data is the formula below, free of
any licence.

A killed run resumes from its last autosave when it is started again with the same options.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor

from ...files import write_atomically
from ...generators.graf.model import GRAF, GRAFConfig
from ...generators.pigan.model import PiGAN, PiGANConfig
from ...models.card import ModelCard
from ...models.store import save_model
from ...optimizers import optimizer_tensors, restore_optimizer
from ..runs import device_of, log, options, update

Kind = Literal["pigan", "graf"]
KINDS: tuple[Kind, ...] = ("pigan", "graf")

HALF = 0.7
"""Half the side of the block in a box from −1 to 1: a third of the volume."""

EDGE = 0.15
"""Radius of the block's edges."""

SHELL = 0.03
"""Distance on either side of the surface over which density goes from its minimum to its maximum."""

OPTICAL_DEPTH = 8.0
"""Optical depth of a path of length SHELL deep inside."""

LEARNING_RATES: dict[Kind, float] = {"pigan": 1e-4, "graf": 1e-3}
STEPS: dict[Kind, int] = {"pigan": 500, "graf": 600}
POINTS = 4096
AUTOSAVE_SECONDS = 30.0


def distance(points: Tensor) -> Tensor:
    """Return the signed distance [...] of points [..., 3] from the block's surface, negative inside."""
    beyond = points.abs() - (HALF - EDGE)
    return beyond.clamp(min=0).norm(dim=-1) + beyond.amax(-1).clamp(max=0) - EDGE


def color(points: Tensor) -> Tensor:
    """Return colours 0..1 [..., 3] at points [..., 3]: one slow wave for each channel."""
    phases = points.new_tensor((0.0, 2.0, 4.0))
    return 0.5 + 0.4 * torch.sin(4 * points + 3 * points.roll(1, -1) + phases)


def drawn(count: int, reach: float, generator: torch.Generator) -> Tensor:
    """Sample points [count, 3], half of them anywhere within ±reach, half near the surface."""
    anywhere = (2 * torch.rand(count // 2, 3, generator=generator) - 1) * reach
    candidates = 2 * torch.rand(12 * count, 3, generator=generator) - 1
    near = candidates[distance(candidates).abs() < 2 * SHELL]
    return torch.cat((anywhere, near[: count - len(anywhere)]))


class SolidFit:
    """The network, its optimiser and its progress."""

    def __init__(self, kind: Kind, steps: int, seed: int = 0, device: torch.device | str = "cpu"):
        torch.manual_seed(seed)
        self.kind, self.steps, self.step = kind, steps, 0
        z = torch.randn(1, 256, generator=torch.Generator().manual_seed(0))
        self.network: PiGAN | GRAF
        if kind == "pigan":
            self.network = PiGAN(PiGANConfig())
            self.ws = self.network.mapping_network(z).detach()
        else:
            self.network = GRAF(GRAFConfig())
            self.ws = self.network.ws_from_z(z)
        self.network.to(device)
        self.ws, self.device = self.ws.to(device), device
        config = self.network.config
        self.half, self.reach = config.half_depth, config.reach / config.half_depth
        self.largest = OPTICAL_DEPTH / (SHELL * self.half)  # density, 1/unit
        fitted = [p for name, p in self.network.named_parameters() if not name.startswith("mapping")]
        self.optimizer = torch.optim.Adam(fitted, lr=LEARNING_RATES[kind])
        self.generator = torch.Generator().manual_seed(seed)

    def advance(self) -> float:
        """Take one step and return its loss."""
        rate = 0.5 * (1 + math.cos(math.pi * self.step / self.steps)) * min((self.step + 1) / 20, 1)
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATES[self.kind] * rate
        points = drawn(POINTS, self.reach, self.generator).to(self.device)
        directions = F.normalize(torch.randn(points.shape, generator=self.generator), dim=-1).to(self.device)
        values = self.network.radiance(self.ws, points[None] * self.half, directions[None])[0]
        rgb = values[:, :3] if self.kind == "pigan" else torch.sigmoid(values[:, :3])
        away = distance(points)
        density_error = (values[:, 3] - (-away / SHELL).clamp(-1, 1)).square().mean()
        # outside the block, colour is visible only where the last sample takes the remaining transmittance
        weight = 0.2 + 0.8 * (away < SHELL)
        color_error = ((rgb - color(points)).square().mean(-1) * weight).mean()
        loss = density_error + 4 * color_error
        update(self.optimizer, loss)
        self.step += 1
        return float(loss.detach())

    def tensors(self) -> dict[str, Tensor]:
        """Return everything needed to resume."""
        state = {f"network.{name}": t for name, t in self.network.state_dict().items()}
        state |= optimizer_tensors(self.optimizer, "optimizer.")
        state = {name: tensor.cpu() for name, tensor in state.items()}
        return {**state, "generator": self.generator.get_state(), "step": torch.tensor([self.step])}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Resume from what `tensors` returned."""
        parts = {name.removeprefix("network."): t for name, t in state.items() if name.startswith("network.")}
        self.network.load_state_dict(parts)
        restore_optimizer(self.optimizer, state, "optimizer.")
        self.generator.set_state(state["generator"])
        self.step = int(state["step"])

    def model(self) -> tuple[ModelCard, dict[str, Tensor]]:
        """Return card and weights of the model, with densities in 1/unit."""
        tensors = {name: t.detach().cpu().clone() for name, t in self.network.state_dict().items()}
        for name in ("density.weight", "density.bias"):
            tensors[name] *= self.largest
        constructor = dataclasses.asdict(self.network.config)
        recipe = "backend/training/experiments/solid_object.py"
        text = f"A rounded block, fitted at points in {self.step} steps of {POINTS} ({recipe})."
        card = ModelCard(self.kind, f"Solid object ({self.kind})", text, "CC0-1.0", False, constructor, card=text)
        return card, tensors


def fit(
    kind: Kind,
    out: Path,
    *,
    steps: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    report: Callable[[str], None] = lambda text: None,
) -> None:
    """Fit, or resume, and write the model folder `out`."""
    work = SolidFit(kind, steps or STEPS[kind], seed, device)
    state = out.with_name(f"{out.name}.state.safetensors")
    if state.exists():
        work.restore(load_file(state))
    out.parent.mkdir(parents=True, exist_ok=True)
    started = saved = time.monotonic()
    while work.step < work.steps:
        loss = work.advance()
        if work.step % 50 == 0:
            report(f"{kind}: step {work.step}/{work.steps}, loss {loss:.5f}, {time.monotonic() - started:.0f} s")
        if time.monotonic() - saved > AUTOSAVE_SECONDS:
            write_atomically(state, save(work.tensors()))
            saved = time.monotonic()
    save_model(out, *work.model())
    state.unlink(missing_ok=True)


def main(arguments: list[str]) -> None:
    """Fit and write a model, from the command line."""
    parser = options("solid-object", __doc__)
    parser.add_argument("--kind", choices=KINDS, required=True, help="architecture")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model that is made")
    defaults = ", ".join(f"{kind}: {count}" for kind, count in STEPS.items())
    parser.add_argument("--steps", type=int, help=f"training steps; if left out {defaults}")
    parser.add_argument("--seed", type=int, default=0, help="seed of initialisation and points")
    given = parser.parse_args(arguments)
    fit(given.kind, given.out, steps=given.steps, seed=given.seed, device=device_of(given.device), report=log)
    sys.stdout.write(json.dumps({"folder": str(given.out)}) + "\n")
