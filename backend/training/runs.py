"""The driver of all training runs: resumable state, loop, journal of losses, and the options of the commands.

A *run* is one training in one folder. It leaves `checkpoint.safetensors` (everything needed to resume),
`losses.jsonl` and `progress.png`. Each step draws its random numbers from a generator seeded with the number of the
step, on the CPU, so that a resumed run computes what an uninterrupted one would have, on any device.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..files import cannot_write, write_atomically
from ..optimizers import optimizer_tensors, restore_optimizer
from .curves import EventFile

CHECKPOINT = "checkpoint.safetensors"
"""In the folder of a run."""


class State:
    """Everything needed to resume a run: networks, optimisers, other tensors, and the step. One safetensors file."""

    def __init__(
        self,
        config: Any,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        tensors: Mapping[str, Tensor] | None = None,
        *,
        size: str = "the size of its data",
    ) -> None:
        """config: a dataclass, or a mapping, that JSON can hold. Optimisers are stored as `adam.<name>.…`, or as
        `adam.…` under the name "". size: what differs where one of `tensors` has another shape in the file."""
        self.config = config
        self._plain: dict[str, Any] = dict(config) if isinstance(config, Mapping) else asdict(config)
        self.networks, self.optimizers, self.tensors, self.size = networks, optimizers, dict(tensors or {}), size
        self.seconds = 0.0  # of training, over all sessions

    def save(self, path: Path, step: int) -> None:
        """Write the file atomically."""
        found = dict(self.tensors)
        for key, network in self.networks.items():
            found |= {f"{key}.{name}": value for name, value in network.state_dict().items()}
        for key, optimizer in self.optimizers.items():
            found |= optimizer_tensors(optimizer, _adam(key))
        found = {name: value.detach().cpu().clone().contiguous() for name, value in found.items()}
        metadata = {"config": json.dumps(self._plain), "step": str(step), "seconds": f"{self.seconds:.1f}"}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(found, metadata))

    @torch.no_grad()
    def load(self, path: Path | None) -> int:
        """Load the file and return its step; 0 if there is no file.

        Raises:
            ValueError: the file belongs to another configuration. Only the number of steps may differ.
        """
        if path is None or not path.exists():
            return 0
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        stored, wanted = json.loads(metadata["config"]), json.loads(json.dumps(self._plain))
        changed = [key for key in wanted if key != "steps" and stored.get(key) != wanted[key]]
        if any(found[name].shape != tensor.shape for name, tensor in self.tensors.items()):
            changed.append(self.size)
        if changed:
            raise ValueError(
                f"{path} was trained with another configuration ({', '.join(changed)}); give an empty folder"
            )
        for key, network in self.networks.items():
            start = f"{key}."
            network.load_state_dict({k.removeprefix(start): v for k, v in found.items() if k.startswith(start)})
        for key, optimizer in self.optimizers.items():
            restore_optimizer(optimizer, found, _adam(key))
        for name, tensor in self.tensors.items():
            tensor.copy_(found[name])
        self.seconds = float(metadata.get("seconds", 0))
        return int(metadata["step"])


class Saved(NamedTuple):
    """Progress of a run, from the header of its checkpoint."""

    step: int
    seconds: float  # of training, over all sessions
    config: dict[str, Any]


def saved_of(checkpoint: Path) -> Saved:
    """Return the progress of a run; zeros if there is no checkpoint. Raises OSError, SafetensorError."""
    if not checkpoint.exists():
        return Saved(0, 0.0, {})
    with safe_open(checkpoint, "pt") as file:
        metadata = file.metadata()
    return Saved(int(metadata["step"]), float(metadata.get("seconds", 0)), json.loads(metadata["config"]))


def _adam(key: str) -> str:
    return f"adam.{key}." if key else "adam."


class Journal:
    """Running means of the numbers of each step; `write` appends them to `losses.jsonl`."""

    def __init__(self, out: Path, names: Iterable[str], decay: float, *, tensorboard: bool = False) -> None:
        """decay: the part of a mean that is kept in a step. tensorboard: event files in `out/tensorboard` too."""
        self.path, self.decay, self.means = out / "losses.jsonl", decay, dict.fromkeys(names, math.nan)
        self.events = EventFile(out / "tensorboard") if tensorboard else None

    def add(self, found: Iterable[Tensor]) -> None:
        """Add the numbers of one step, in the order of the names."""
        for (name, mean), number in zip(list(self.means.items()), found, strict=True):
            value = number.item()
            self.means[name] = value if math.isnan(mean) else self.decay * mean + (1 - self.decay) * value

    def __str__(self) -> str:
        return "  ".join(f"{name} {value:.3f}" for name, value in self.means.items())

    def write(self, step: int) -> None:
        """Append a line. A full disk loses it, and the training goes on."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step} | {k: float(f"{v:.5g}") for k, v in self.means.items()}) + "\n")
            if self.events is not None:
                self.events.add(step, self.means)
        except OSError as error:
            log(f"step {step}: {cannot_write('The losses', self.path.parent, error).message} The training goes on.")


class Loop:
    """Iterate over the steps of a run: `for step in loop` resumes from the checkpoint and yields each step's number.

    After the body of a step it reports progress, saves the checkpoint and draws the progress image, each when due, and
    all of them after the last step. The body says with `loop.report(text)` what its step gave.
    """

    def __init__(
        self,
        state: State,
        checkpoint: Path | None,
        steps: int,
        *,
        progress: Callable[..., None],
        report_steps: int = 1,
        checkpoint_seconds: float = 60.0,
        draw: Callable[[Path], None] | None = None,
        draw_seconds: float = 240.0,
        first_draw_seconds: float | None = None,
        each_step: Callable[[int, Mapping[str, float]], None] = lambda step, means: None,
        finished: Callable[[], bool] = lambda: False,
        writes: bool = True,
    ) -> None:
        """checkpoint: None keeps nothing. progress(fraction, text, *details): called every `report_steps` steps.
        each_step(steps done, means of the journal): called after each step. The checkpoint is saved before an exception
        from either ends the run. draw(path): writes `progress.png` beside the checkpoint, every `draw_seconds`; with
        first_draw_seconds first after those, then after times that double up to `draw_seconds`. finished(): asked after
        each step, ends the run early. writes: False in all but one of the processes of a run."""
        self.state, self.checkpoint, self.steps = state, checkpoint, steps
        self.progress, self.report_steps = progress, report_steps
        self.checkpoint_seconds = checkpoint_seconds
        self.draw, self.draw_seconds, self.first_draw_seconds = draw, draw_seconds, first_draw_seconds
        self.each_step, self.finished, self.writes = each_step, finished, writes
        self._text: str | Journal = ""
        self._details: tuple[Any, ...] = ()

    def report(self, text: str | Journal, *details: Any) -> None:
        """Set what this step is reported with; details are passed on to `progress`. A journal gets a line."""
        self._text, self._details = text, details

    def __iter__(self) -> Iterator[int]:
        """Raises ValueError: the checkpoint belongs to another configuration."""
        first = step = self.state.load(self.checkpoint)
        if self.checkpoint is not None:
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        started = saved = drawn = time.monotonic()
        before = self.state.seconds
        last = step >= self.steps
        while not last:
            yield step
            step += 1
            last, now = self.finished() or step == self.steps, time.monotonic()
            self.state.seconds = before + now - started
            if not self.writes:
                continue
            try:
                if last or step % self.report_steps == 0:
                    left = (now - started) / (step - first) * (self.steps - step) / 60
                    line = f"step {step}/{self.steps}  {self._text}  {left:.0f} min left"
                    if isinstance(self._text, Journal):
                        self._text.write(step)
                    self.progress(step / self.steps, line, *self._details)
                self.each_step(step, self._text.means if isinstance(self._text, Journal) else {})
            except BaseException:
                self._save(step, must=False)
                raise
            if self.checkpoint is None:
                continue
            if last or now - saved > self.checkpoint_seconds:
                self._save(step, must=last)
                saved = time.monotonic()
            wait = self.draw_seconds
            if self.first_draw_seconds is not None:
                wait = min(wait, max(self.first_draw_seconds, (now - started) / 2))
            if self.draw is not None and (last or now - drawn > wait):
                self.draw(self.checkpoint.with_name("progress.png"))
                drawn = time.monotonic()

    def _save(self, step: int, *, must: bool) -> None:
        """Save the checkpoint. A failed attempt keeps the previous file; it is an error only if `must`."""
        if self.checkpoint is None:
            return
        try:
            self.state.save(self.checkpoint, step)
        except OSError as error:
            problem = cannot_write("The checkpoint", self.checkpoint.parent, error)
            if must:
                raise problem from error
            log(f"step {step}: {problem.message} The previous one is kept and the training goes on.")


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    """Update a running mean of a network: parameters, and the statistics of batch normalisation.

    decay: the part of itself that the mean keeps."""
    new = network.state_dict()
    for name, value in averaged.state_dict().items():
        if value.is_floating_point():
            value.lerp_(new[name], 1 - decay)


def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def options(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return the command line of `python -m backend train NAME`, with --device."""
    parser = argparse.ArgumentParser(
        prog=f"python -m backend train {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps; cuda where there is one, else cpu, if left out")
    return parser


def recipe_options(
    name: str, description: str | None, *, data: str, out: str, published: str = ""
) -> argparse.ArgumentParser:
    """Return the command line of a model's recipe: `options`, and the data folder, --out, --steps and, if it has help,
    --published."""
    parser = options(name, description)
    parser.add_argument("data", type=Path, help=f"the folder that {data} filled")
    parser.add_argument("--out", type=Path, required=True, help=f"folder for checkpoint, progress image and {out}")
    if published:
        parser.add_argument("--published", action="store_true", help=published)
    parser.add_argument("--steps", type=int, help="training steps; the recipe's own if left out")
    return parser


def device_of(name: str | None) -> torch.device:
    """Return the device of `--device`: cuda where there is one, else cpu, unless named. Raises NotSupported."""
    from ..device import device_of as usable

    return usable(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def log(text: str) -> None:
    """Write a line of a command's progress to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say(fraction: float, text: str, *details: object) -> None:
    """Write the progress of a `Loop` to stderr."""
    log(text)
