"""What the recipes share: going on after a stop, what is kept and told on the way, and the options of the command."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Picture
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..models.store import write_atomically


class State:
    """All that is needed to go on: networks, optimisers, the number of the step. Kept in one safetensors file."""

    def __init__(self, config: Any, networks: dict[str, nn.Module], optimizers: dict[str, torch.optim.Adam]) -> None:
        """config: a dataclass that JSON can hold."""
        self.config, self.networks, self.optimizers = config, networks, optimizers

    def save(self, path: Path, step: int) -> None:
        """Write the file, whole or not at all."""
        tensors = {f"{k}.{n}": v for k, network in self.networks.items() for n, v in network.state_dict().items()}
        for key, optimizer in self.optimizers.items():
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"adam.{key}.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
        metadata = {"config": json.dumps(asdict(self.config)), "step": str(step)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors, metadata))

    def load(self, path: Path) -> int:
        """Take up the file and return its step; 0 where there is none.

        Raises:
            ValueError: it belongs to another configuration. Only the number of steps may differ.
        """
        if not path.exists():
            return 0
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            stored, wanted = json.loads(metadata["config"]), json.loads(json.dumps(asdict(self.config)))
            changed = [key for key in wanted if key != "steps" and stored.get(key) != wanted[key]]
            if changed:
                raise ValueError(
                    f"{path} was trained with another configuration ({', '.join(changed)}); give an empty folder"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        for key, network in self.networks.items():
            network.load_state_dict(_under(tensors, f"{key}."))
        for key, optimizer in self.optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(tensors, f"adam.{key}.").items():
                index, part = name.split(".")
                state.setdefault(int(index), {})[part] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return int(metadata["step"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, share: float) -> None:
    """Move the averaged network towards the network: parameters, and the statistics of batch normalisation.

    share: what it keeps of itself."""
    new = network.state_dict()
    for name, value in averaged.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name], 1 - share)


class Journal:
    """Running means of what a step found: in words, and as lines of `losses.jsonl`."""

    def __init__(self, out: Path, names: Iterable[str], share: float) -> None:
        """share: what a mean keeps of itself in a step."""
        self.path, self.share, self.means = out / "losses.jsonl", share, dict.fromkeys(names, math.nan)

    def add(self, found: Iterable[Tensor]) -> None:
        """After a step: its numbers, in the order of the names."""
        for (name, mean), number in zip(list(self.means.items()), found, strict=True):
            value = number.item()
            self.means[name] = value if math.isnan(mean) else self.share * mean + (1 - self.share) * value

    def __str__(self) -> str:
        return "  ".join(f"{name} {value:.3f}" for name, value in self.means.items())

    def write(self, step: int) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step} | {k: round(v, 4) for k, v in self.means.items()}) + "\n")


class Clock:
    """Says how long is left, keeps the state in `checkpoint.safetensors` and draws `progress.png`, each when it is
    time, and at the end."""

    def __init__(
        self,
        out: Path,
        state: State,
        step: int,
        *,
        checkpoint_seconds: float,
        picture_seconds: float,
        report_steps: int = 1,
    ) -> None:
        self.out, self.state, self.steps, self.first = out, state, int(state.config.steps), step
        self.checkpoint_seconds, self.picture_seconds = checkpoint_seconds, picture_seconds
        self.report_steps = report_steps
        self.started = self.kept = self.drawn = time.monotonic()

    def tick(
        self,
        step: int,
        text: str | Journal,
        progress: Callable[[float, str], None],
        picture: Callable[[Path], None] | None,
    ) -> None:
        """After a step. text: what it found; a journal gets a line where something is said."""
        last, now = step == self.steps, time.monotonic()
        if last or step % self.report_steps == 0:
            left = (now - self.started) / (step - self.first) * (self.steps - step) / 60
            progress(step / self.steps, f"step {step}/{self.steps}  {text}  {left:.0f} min left")
            if isinstance(text, Journal):
                text.write(step)
        if last or now - self.kept > self.checkpoint_seconds:
            self.state.save(self.out / "checkpoint.safetensors", step)
            self.kept = time.monotonic()
        if picture is not None and (last or now - self.drawn > self.picture_seconds):
            picture(self.out / "progress.png")
            self.drawn = time.monotonic()


def page(image: Tensor, scale: int) -> Picture.Image:
    """Return a picture of an image [3, H, W] in -1..1, `scale` times as large."""
    pixels = ((image * 0.5 + 0.5).clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()
    made = Picture.fromarray(pixels)
    return made.resize((made.width * scale, made.height * scale), Picture.Resampling.LANCZOS)


def options(name: str, description: str | None, *, data: str, out: str, published: str = "") -> argparse.ArgumentParser:
    """Return the command line of a recipe: the folder of data, --out, --steps, and --published where there is one."""
    parser = argparse.ArgumentParser(
        prog=f"python -m backend train {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, help=f"the folder that {data} filled")
    parser.add_argument("--out", type=Path, required=True, help=f"folder for checkpoint, picture and {out}")
    if published:
        parser.add_argument("--published", action="store_true", help=published)
    parser.add_argument("--steps", type=int, help="training steps; the recipe's own if left out")
    return parser


def say(fraction: float, text: str, *_: object) -> None:
    """Progress of a command: a line on stderr."""
    sys.stderr.write(text + "\n")
