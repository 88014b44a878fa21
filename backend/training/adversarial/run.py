"""The run of an adversarial training: steps with their random numbers, updates, running mean, checkpoints, sheets.

A loop over an `AdversarialRun` reads as the four steps that all 3D-aware GANs share:

    for step in run:
        z = step.normal(z_dim)                          # 1. generate a representation of a scene,
        fake = render(generator, z, random_pose(step))  # 2. render it from a random pose,
        ...                                             # 3. show the image to a 2D discriminator,
        run.update("discriminator", loss_d)
        run.update("generator", loss_g)                 # 4. back-propagate through both.
        run.report(loss_d=loss_d, loss_g=loss_g)
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from addon.wire.errors import Cancelled, CannotWrite, Diverged, InvalidRequest

from ...models.card import ModelCard
from ...scenes.generator import Generator
from ..curves import draw_curves, read_losses
from ..runs import CHECKPOINT, Journal, Loop, State, follow, log, say
from .config import AdversarialTraining
from .processes import Processes
from .watch import Watch


@dataclass(frozen=True)
class RunOptions:
    """How a training is run, as opposed to what is trained."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    processes: Processes = field(default_factory=Processes)
    hours: float | None = None  # ends the run, with a checkpoint; None: the configuration's steps alone do
    resume: bool = True  # go on from the folder's checkpoint; False refuses a folder that has one
    progress: Callable[..., None] = say
    report_steps: int = 50
    checkpoint_seconds: float = 120.0
    watch_seconds: float = 600.0  # between sheets …
    first_watch_seconds: float | None = None  # … and before the first one; then they come at times that double
    judge: Callable[[Generator, int], None] | None = None  # called with the model and the step after each sheet
    each_step: Callable[[int, Mapping[str, float]], None] = lambda step, means: None  # after each: steps done, losses;
    # what it raises ends the run, after a checkpoint


class Step:
    """One step of a run: its number, and random numbers that depend on the seed and the number alone.

    Every draw is made for the whole batch on the CPU; the methods return this process's rows on the run's device.
    """

    def __init__(self, number: int, config: AdversarialTraining, options: RunOptions) -> None:
        self.number, self.images_seen, self.batch = number, config.images_before(number), config.batch_at(number)
        self.random = torch.Generator().manual_seed(config.seed * 1_000_003 + number)
        self._config, self._options = config, options

    def normal(self, *shape: int) -> Tensor:
        """Return normal numbers [b, *shape]."""
        return self._mine(torch.randn(self.batch, *shape, generator=self.random))

    def uniform(self, *shape: int) -> Tensor:
        """Return uniform numbers in 0..1, [b, *shape]."""
        return self._mine(torch.rand(self.batch, *shape, generator=self.random))

    def choose(self, count: int) -> Tensor:
        """Return indices [b] of training images: each of `count` once in an epoch, in an order that changes."""
        found = []
        for position in range(self.images_seen, self.images_seen + self.batch):
            epoch, place = divmod(position, count)
            found.append(int(_permutation(self._config.seed, epoch, count)[place]))
        return self._mine(torch.tensor(found))

    def images(self, images: Tensor, index: Tensor) -> Tensor:
        """Return images [b, 3, H, W] in -1..1 of a uint8 tensor [n, 3, H, W] at `index` [b]."""
        return images[index.to(images.device)].to(self._options.device, torch.float32) / 127.5 - 1

    def _mine(self, rows: Tensor) -> Tensor:
        return self._options.processes.part(rows).to(self._options.device)


class AdversarialRun:
    """A resumable training of a generator and a discriminator. Iterate over it; see the module.

    `mean` is the generator with the running mean of the weights, which is what a training gives.
    """

    def __init__(
        self,
        config: AdversarialTraining,
        out: Path | None,
        generator: nn.Module,
        discriminator: nn.Module,
        options: RunOptions,
        *,
        card: Callable[[], ModelCard] | None = None,
        optimizers: Mapping[str, torch.optim.Optimizer] | None = None,
        tensors: Mapping[str, Tensor] | None = None,
        clip: float | None = None,
        exported: Callable[[nn.Module], nn.Module] = lambda mean: mean,
    ) -> None:
        """out: folder of checkpoint, losses, sheets and `model/`; None keeps nothing. card(): that of the model folder;
        without it there are no sheets. optimizers: "generator" and "discriminator"; Adam with the configuration's
        rates by default. tensors: further state of the loop. clip: largest norm of a gradient.
        exported(mean): the part of the mean generator that is the model, where the rest only serves the training.

        Raises InvalidRequest: the batch cannot be divided over the processes, or `out` holds a run and is not resumed.
        """
        if config.batch % options.processes.count:
            raise InvalidRequest(
                f"A batch of {config.batch} images cannot be divided over {options.processes.count} processes: "
                "give a number of processes that divides it."
            )
        self.config, self.out, self.options, self.clip = config, out, options, clip
        self.generator, self.discriminator = generator.to(options.device), discriminator.to(options.device)
        self.mean = copy.deepcopy(self.generator).requires_grad_(False)
        self.optimizers = dict(optimizers or {})
        for name, network, rate in (
            ("generator", generator, config.generator_rate),
            ("discriminator", discriminator, config.discriminator_rate),
        ):
            if name not in self.optimizers:
                trained = [p for p in network.parameters() if p.requires_grad]
                self.optimizers[name] = torch.optim.Adam(trained, rate, config.betas)
        self._rates = {n: [group["lr"] for group in o.param_groups] for n, o in self.optimizers.items()}
        self.state = State(
            config,
            {"generator": self.generator, "mean": self.mean, "discriminator": self.discriminator},
            self.optimizers,
            tensors,
        )
        self.checkpoint = None if out is None else out / CHECKPOINT
        if self.checkpoint is not None and self.checkpoint.exists() and not options.resume:
            raise InvalidRequest(
                f"{out} already holds a training: go on with it by --resume, or give another folder as --out."
            )
        self._watch = None if out is None or card is None else Watch(out, card, exported(self.mean))
        self._journal: Journal | None = None
        self._number = 0

    def __iter__(self) -> Iterator[Step]:
        """Yield the steps that are left.

        Raises:
            InvalidRequest: the folder's checkpoint has another configuration, or another training writes to it.
            CannotWrite: the last checkpoint could not be stored.
        """
        options = self.options
        until = None if options.hours is None else time.monotonic() + 3600 * options.hours
        loop = self._loop = Loop(
            self.state, self.checkpoint, self.config.steps,
            progress=options.progress, report_steps=options.report_steps,
            checkpoint_seconds=options.checkpoint_seconds,
            draw=None if self.out is None else self._draw, draw_seconds=options.watch_seconds,
            first_draw_seconds=options.first_watch_seconds, each_step=options.each_step,
            finished=lambda: options.processes.decide(until is not None and time.monotonic() > until),
            writes=options.processes.leads,
        )  # fmt: skip
        with only_run_in(self.out if options.processes.leads else None):
            try:
                for number in loop:
                    self._number = number
                    factor = self.config.rate_at(number)
                    for name, optimizer in self.optimizers.items():
                        for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                            group["lr"] = rate * factor
                    yield Step(number, self.config, options)
                    follow(self.mean, self.generator, self.config.mean_decay(number))
            except ValueError as error:
                raise InvalidRequest(f"{error}.") from error
            except Cancelled:
                if self._watch is not None:
                    self._watch.export()
                raise

    @property
    def number(self) -> int:
        """Number of the step that is taken, or was last taken."""
        return self._number

    def set_rate(self, name: str, rate: float) -> None:
        """Set the learning rate of an optimiser that `rate_at` then scales, for schedules of stages."""
        self._rates[name] = [rate] * len(self._rates[name])
        for group in self.optimizers[name].param_groups:
            group["lr"] = rate * self.config.rate_at(self._number)

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of forward passes: bfloat16 where the configuration asks for it."""
        kind = self.options.device.type
        mixed = {"cuda": self.config.mixed_precision, "cpu": self.config.mixed_on_cpu}.get(kind, False)
        return torch.autocast(kind, torch.bfloat16) if mixed else contextlib.nullcontext()

    def update(self, name: str, loss: Tensor) -> None:
        """Take one step of an optimiser down the gradient of a loss, averaged over all processes.

        Gradients reach the parameters of that optimiser alone.

        Raises:
            Diverged: the loss or its gradient is not finite. The weights and the last checkpoint are untouched.
        """
        optimizer = self.optimizers[name]
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        found = [p.grad for p in parameters if p.grad is not None]
        self.options.processes.average(found)
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in found]))
        if not bool(torch.isfinite(norm)) or not bool(torch.isfinite(loss)):
            raise Diverged(self._diverged(name))
        if self.clip is not None and norm > self.clip:
            for gradient in found:
                gradient.mul_(self.clip / norm)
        optimizer.step()

    def report(self, **values: Tensor | float) -> None:
        """Report numbers of this step: running means in the log, `losses.jsonl` and the curves."""
        found = [torch.as_tensor(value, dtype=torch.float32).detach().mean().reshape(1) for value in values.values()]
        self.options.processes.average(found)
        if self._journal is None:
            self._journal = Journal(self.out or Path(), values, 0.98, tensorboard=True)
        self._journal.add(found)
        self._loop.report(self._journal if self.out is not None else str(self._journal))

    def _draw(self, path: Path) -> None:
        """Write the curves and the sheets. A full disk is logged, and the training goes on."""
        try:
            draw_curves(read_losses(path.with_name("losses.jsonl"))).save(path.with_name("curves.png"))
            if self._watch is not None:
                generator = self._watch(path)
                if self.options.judge is not None:
                    self.options.judge(generator, self._number)
        except (OSError, CannotWrite) as error:
            log(f"The sheets could not be written to {path.parent}: {error}. The training goes on.")

    def _diverged(self, name: str) -> str:
        text = f"The training diverged: the loss of the {name} is not finite at step {self._number}. "
        if self.checkpoint is not None and self.checkpoint.exists():
            return text + f"The last good checkpoint is kept in {self.out}: resume it with a lower learning rate."
        return text + "Start it again with a lower learning rate or a larger gamma."


@contextlib.contextmanager
def only_run_in(out: Path | None) -> Iterator[None]:
    """Hold a folder for one training at a time.

    Raises:
        InvalidRequest: another process trains in it.
    """
    if out is None:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    lock = out / "training.pid"
    while True:
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            break
        except FileExistsError:
            owner = _owner(lock)
            if owner is not None:
                raise InvalidRequest(
                    f"Another training (process {owner}) is running in {out}: stop it, or give another folder as --out."
                ) from None
            lock.unlink(missing_ok=True)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()} {psutil.Process().create_time()}")
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _owner(lock: Path) -> int | None:
    """Return the process that holds a lock file; None if it has ended."""
    try:
        number, created = lock.read_text(encoding="ascii").split()
        process = psutil.Process(int(number))
        return process.pid if abs(process.create_time() - float(created)) < 1 else None
    except (OSError, ValueError, psutil.NoSuchProcess):
        return None


_permutations: dict[tuple[int, int, int], Tensor] = {}


def _permutation(seed: int, epoch: int, count: int) -> Tensor:
    """Return the order of `count` images in an epoch."""
    key = (seed, epoch, count)
    if key not in _permutations:
        while len(_permutations) > 2:
            _permutations.pop(next(iter(_permutations)))
        random = torch.Generator().manual_seed(seed * 7_368_787 + epoch)
        _permutations[key] = torch.randperm(count, generator=random)
    return _permutations[key]
