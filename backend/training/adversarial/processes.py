"""Training in several processes: each takes a part of every batch, and gradients are averaged over all.

All processes draw the same random numbers for the whole batch and take every `count`-th row, so that N processes
compute what one would with the same batch; a row's place modulo the batch size decides its group in minibatch standard
deviation (arxiv.org/abs/1912.04958), and strided parts keep those groups whole.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed

from addon.wire.errors import InvalidRequest


@dataclass(frozen=True)
class Processes:
    """This process among those of a training."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and reports."""
        return self.rank == 0

    def part(self, rows: Tensor) -> Tensor:
        """Return this process's rows of a batch."""
        return rows[self.rank :: self.count]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over all processes."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= self.count
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def decide(self, answer: bool) -> bool:
        """Return the answer of the leading process, in all."""
        if self.count == 1:
            return answer
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        found = torch.tensor([answer], dtype=torch.uint8, device=device)
        distributed.broadcast(found, 0)
        return bool(found.item())


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that torchrun started (alone without it): gloo on a CPU, nccl on CUDA."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), count)
        distributed.barrier()  # torchrun ends all processes when one is gone: the leading one may still be writing
    finally:
        distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """Return this process's device: each process on CUDA has a GPU of its own."""
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


def started_by_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def start(command: Sequence[str], count: int) -> int:
    """Run `python -m backend COMMAND` in `count` processes by torchrun. Returns its exit status.

    Raises InvalidRequest for a number that is not positive.
    """
    if count < 1:
        raise InvalidRequest(f"--processes is {count}: give 1 or more.")
    root = Path(__file__).resolve().parents[3]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH", ""))))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return subprocess.run(
        [*launcher, "-m", "backend", *command], env={**os.environ, "PYTHONPATH": path}, check=False
    ).returncode
