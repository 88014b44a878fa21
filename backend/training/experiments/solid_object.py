"""Fit π-GAN, GRAF or ShadeGAN to a solid object: weights with mostly empty or hidden space, for measurements.

`python -m backend train solid-object --kind pigan --out FOLDER` fits the published network, at its published size, to a
coloured block with rounded edges that fills about a third of the model's box. The latent of seed 0 shows it. Density
and colour are fitted at points directly, half of them in the whole volume that rays cross, half near the surface
(without images or a discriminator: the weights only serve to measure rendering). ShadeGAN's surface network is fitted
to the block's depth in views from around the front. The data is the formula below, free of any licence.

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
from ...generators.pigan.model import PiGAN, PiGANConfig, official_rays
from ...generators.shadegan.model import ShadeGAN, ShadeGANConfig
from ...models.card import ModelCard
from ...models.store import save_model
from ...optimizers import optimizer_tensors, restore_optimizer
from ..runs import device_of, log, options, update

Kind = Literal["pigan", "graf", "shadegan"]
KINDS: tuple[Kind, ...] = ("pigan", "graf", "shadegan")

HALF = 0.7
"""Half the side of the block in a box from −1 to 1: a third of the volume."""

EDGE = 0.15
"""Radius of the block's edges."""

SHELL = 0.03
"""Distance on either side of the surface over which density goes from its minimum to its maximum."""

SHELLS: dict[Kind, float] = {"pigan": SHELL, "graf": SHELL, "shadegan": 0.3}
"""The same for each network, with the same slope of density at the surface: normals want one that goes on inside."""

OPTICAL_DEPTH = 8.0
"""Optical depth of a path of length SHELL deep inside."""

LEARNING_RATES: dict[Kind, float] = {"pigan": 1e-4, "graf": 1e-3, "shadegan": 1e-4}
SURFACE_LEARNING_RATE = 2e-3
STEPS: dict[Kind, int] = {"pigan": 500, "graf": 600, "shadegan": 500}
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


def first_hit(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return t [rays] at which unit rays [rays, 3] come closest to the block from outside, and whether they hit it."""
    t = torch.zeros_like(origins[:, 0])
    for _ in range(48):
        t = t + distance(origins + directions * t[:, None])
    return t, distance(origins + directions * t[:, None]) < 1e-3


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
        self.network: PiGAN | GRAF | ShadeGAN
        if kind == "pigan":
            self.network = PiGAN(PiGANConfig())
            self.ws = self.network.mapping_network(z).detach()
        elif kind == "shadegan":
            self.network = ShadeGAN(ShadeGANConfig())
            self.ws = self.network.mapping_network(z).detach()
        else:
            self.network = GRAF(GRAFConfig())
            self.ws = self.network.ws_from_z(z)
        self.network.to(device)
        self.ws, self.device = self.ws.to(device), device
        config = self.network.config
        self.half, self.reach = config.half_depth, config.reach / config.half_depth
        self.shell = SHELLS[kind]
        self.largest = OPTICAL_DEPTH / (SHELL * self.half) * (self.shell / SHELL)  # density, 1/unit
        named = list(self.network.named_parameters())
        field = [p for name, p in named if not name.startswith(("mapping", "surface"))]
        surface = [p for name, p in named if name.startswith("surface")]
        groups = [{"params": field, "lr": LEARNING_RATES[kind]}]
        groups += [{"params": surface, "lr": SURFACE_LEARNING_RATE}] if surface else []
        self.optimizer = torch.optim.Adam(groups)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.generator = torch.Generator().manual_seed(seed)

    def advance(self) -> float:
        """Take one step and return its loss."""
        rate = 0.5 * (1 + math.cos(math.pi * self.step / self.steps)) * min((self.step + 1) / 20, 1)
        for group, highest in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = highest * rate
        points = drawn(POINTS, self.reach, self.generator).to(self.device)
        directions = F.normalize(torch.randn(points.shape, generator=self.generator), dim=-1).to(self.device)
        rgb, density = self.radiance(points * self.half, directions)
        away = distance(points)
        density_error = (density - (-away / self.shell).clamp(-1, 1)).square().mean()
        # outside the block, colour is visible only where the last sample takes the remaining transmittance
        weight = 0.2 + 0.8 * (away < SHELL)
        color_error = ((rgb - color(points)).square().mean(-1) * weight).mean()
        loss = density_error + 4 * color_error
        if isinstance(self.network, ShadeGAN):
            loss = loss + self.surface_error(self.network)
        update(self.optimizer, loss)
        self.step += 1
        return float(loss.detach())

    def radiance(self, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return colours 0..1 [n, 3] and raw density [n] at points [n, 3] seen along directions [n, 3]."""
        if isinstance(self.network, ShadeGAN):
            density, features, _ = self.network.geometry(self.ws, points[None], normals=False)
            light = torch.zeros(1, 4, device=self.device)
            return self.network.albedo(self.ws, features, directions[None], light)[0], density[0]
        values = self.network.radiance(self.ws, points[None], directions[None])[0]
        rgb = values[:, :3] if self.kind == "pigan" else torch.sigmoid(values[:, :3])
        return rgb, values[:, 3]

    def surface_error(self, network: ShadeGAN) -> Tensor:
        """Return the mean |predicted − true| depth, as a share of the ray, in a random view of the block."""
        config = network.config
        yaw, pitch = math.pi / 2 + torch.randn(2, 1, generator=self.generator) * torch.tensor([[0.3], [0.155]])
        predicted = network.surface(self.ws, torch.stack((pitch, yaw), -1).to(self.device))
        n = predicted.shape[-1]
        rays = official_rays(yaw, pitch, n, config.fov_degrees, torch.zeros(1, n * n, 1))
        t, hit = first_hit(rays.origins[0] / self.half, rays.directions[0])
        share = (t * self.half - config.ray_start) / (config.ray_end - config.ray_start)
        off = (predicted.flatten() - share.to(predicted)).abs()
        return off[hit.to(off.device)].mean()

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
