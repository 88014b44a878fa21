"""The driver of adversarial trainings: resuming, several processes, and what can go wrong."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from addon.wire.errors import Cancelled, CannotWrite, Diverged, InvalidRequest
from backend.training import runs
from backend.training.adversarial.config import AdversarialTraining
from backend.training.adversarial.losses import discriminator_loss, generator_loss, gradient_penalty
from backend.training.adversarial.processes import Processes
from backend.training.adversarial.run import AdversarialRun, RunOptions, Step, only_run_in

from . import toy

ROOT = Path(__file__).resolve().parents[4]
QUIET = RunOptions(progress=lambda *_: None, report_steps=1, checkpoint_seconds=0.0)


def weights(run: AdversarialRun) -> dict[str, Tensor]:
    return {**run.generator.state_dict(), **{f"mean.{k}": v for k, v in run.mean.state_dict().items()}}


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = toy.train(tmp_path / "whole", QUIET)
    command = [sys.executable, "-c", f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from tests.backend.training.adversarial import toy
from backend.training.adversarial.run import RunOptions
def kill(fraction, text):
    if fraction > 0.5: os.kill(os.getpid(), signal.SIGKILL)
toy.train(Path({str(tmp_path / "killed")!r}), RunOptions(progress=kill, report_steps=1, checkpoint_seconds=0.0))
"""]  # fmt: skip
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    done = runs.State({}, {}, {}).load(tmp_path / "killed" / "checkpoint.safetensors")
    assert 0 < done < toy.CONFIG.steps
    again = toy.train(tmp_path / "killed", QUIET)
    for name, value in weights(whole).items():
        assert torch.equal(weights(again)[name], value), name


def test_two_processes_compute_what_one_does_with_the_same_batch(tmp_path: Path) -> None:
    one = toy.train(None, QUIET)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    found = subprocess.run(
        [*launch, "-m", "tests.backend.training.adversarial.toy", str(tmp_path)], cwd=ROOT, capture_output=True,
        text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    stored = load_file(tmp_path / "checkpoint.safetensors")
    for network in ("generator", "mean", "discriminator"):
        for name, value in getattr(one, network).state_dict().items():
            torch.testing.assert_close(stored[f"{network}.{name}"], value, rtol=0, atol=1e-5)
    assert len((tmp_path / "losses.jsonl").read_text().splitlines()) == toy.CONFIG.steps


def test_the_parts_of_all_processes_are_the_batch() -> None:
    one = Step(7, toy.CONFIG, RunOptions()).normal(3)
    parts = [Step(7, toy.CONFIG, RunOptions(processes=Processes(rank, 4))).normal(3) for rank in range(4)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), one)
    assert not torch.equal(Step(8, toy.CONFIG, RunOptions()).normal(3), one)


def test_each_image_is_chosen_once_in_an_epoch() -> None:
    config = dataclasses.replace(toy.CONFIG, batch=5)
    epochs = [torch.cat([Step(e * 4 + i, config, RunOptions()).choose(20) for i in range(4)]) for e in range(2)]
    assert all(sorted(epoch.tolist()) == list(range(20)) for epoch in epochs)
    assert not torch.equal(*epochs)


def test_a_run_that_is_cancelled_after_a_step_keeps_it_and_goes_on(tmp_path: Path) -> None:
    def stop(step: int, losses: Mapping[str, float]) -> None:
        assert losses.keys() == {"loss_d", "loss_g"}
        if step == 5:
            raise Cancelled()

    seldom = dataclasses.replace(QUIET, report_steps=1000, checkpoint_seconds=1e9)
    with pytest.raises(Cancelled):
        toy.train(tmp_path, dataclasses.replace(seldom, each_step=stop))
    saved = runs.saved_of(tmp_path / runs.CHECKPOINT)
    assert saved.step == 5 and saved.seconds >= 0 and saved.config["steps"] == toy.CONFIG.steps
    whole, again = toy.train(None, QUIET), toy.train(tmp_path, seldom)
    assert all(torch.equal(weights(again)[name], value) for name, value in weights(whole).items())
    assert runs.saved_of(tmp_path / runs.CHECKPOINT).seconds >= saved.seconds
    assert (tmp_path / "curves.png").stat().st_size > 0 and list((tmp_path / "tensorboard").iterdir())


def test_the_batch_must_divide_over_the_processes() -> None:
    with pytest.raises(InvalidRequest, match="batch of 8 images cannot be divided over 3"):
        toy.train(None, RunOptions(processes=Processes(0, 3)))


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    run = AdversarialRun(toy.CONFIG, tmp_path, *toy.networks(), QUIET)
    images = toy.data()
    with pytest.raises(Diverged, match=r"discriminator is not finite at step 4.*last good checkpoint"):
        for step in run:
            if step.number == 4:
                run.update("discriminator", run.discriminator(torch.full((8, 3, 4, 4), math.nan)).mean())
            toy.one_step(run, step, images)
    stored = load_file(tmp_path / "checkpoint.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in stored.values())
    assert runs.State({}, {}, {}).load(tmp_path / "checkpoint.safetensors") == 4


def test_a_full_disk_keeps_the_previous_checkpoint_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, full = runs.write_atomically, [False]

    def fill(path: Path, data: bytes) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(runs, "write_atomically", fill)

    def progress(fraction: float, text: str) -> None:
        full[0] = 0.4 < fraction < 0.8

    options = dataclasses.replace(QUIET, progress=progress)
    toy.train(tmp_path, options)
    assert "the previous one is kept" in capsys.readouterr().err.lower()
    assert runs.State({}, {}, {}).load(tmp_path / "checkpoint.safetensors") == toy.CONFIG.steps

    def always(fraction: float, text: str) -> None:
        full[0] = True

    with pytest.raises(CannotWrite, match="full"):
        toy.train(tmp_path / "other", dataclasses.replace(QUIET, progress=always))


def test_one_training_in_a_folder(tmp_path: Path) -> None:
    with only_run_in(tmp_path), pytest.raises(InvalidRequest, match="Another training"):
        toy.train(tmp_path, QUIET)
    (tmp_path / "training.pid").write_text("999999 1.0")  # of a process that was killed
    toy.train(tmp_path, QUIET)
    assert not (tmp_path / "training.pid").exists()


def test_a_folder_with_a_training_wants_resume(tmp_path: Path) -> None:
    toy.train(tmp_path, QUIET)
    with pytest.raises(InvalidRequest, match="--resume"):
        toy.train(tmp_path, dataclasses.replace(QUIET, resume=False))
    with pytest.raises(InvalidRequest, match=r"another configuration \(gamma\)"):
        toy.train(tmp_path, QUIET, dataclasses.replace(toy.CONFIG, gamma=9.0))


def test_hours_end_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    options = dataclasses.replace(QUIET, hours=0.2 / 3600, checkpoint_seconds=1e9)
    started = time.monotonic()
    toy.train(tmp_path, options, dataclasses.replace(toy.CONFIG, steps=10**6))
    assert time.monotonic() - started < 20
    assert 0 < runs.State({}, {}, {}).load(tmp_path / "checkpoint.safetensors") < 10**6


def test_an_update_reaches_one_network_alone() -> None:
    run = AdversarialRun(toy.CONFIG, None, *toy.networks(), QUIET)
    before = [p.clone() for p in run.discriminator.parameters()]
    run.update("generator", run.discriminator(run.generator(torch.ones(8, 5))).mean())
    assert all(torch.equal(a, b) for a, b in zip(before, run.discriminator.parameters(), strict=True))


def test_the_mean_follows_by_its_half_life() -> None:
    config = AdversarialTraining(steps=1000, batch=10, mean_kimg=0.1, mean_ramp=1e9)
    kept = math.prod(config.mean_decay(step) for step in range(10))  # 100 images
    assert kept == pytest.approx(0.5)


# -------------------------------------------------------------------------------------------------------------- losses


def test_the_penalty_is_that_of_the_gradient_by_hand() -> None:
    random = torch.Generator().manual_seed(0)
    matrix = torch.randn(3, 3, generator=random, dtype=torch.float64)
    images = torch.randn(4, 3, generator=random, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(torch.einsum("bi,ij,bj->b", images, matrix, images)[:, None], images)
    by_hand = (images @ (matrix + matrix.T)).square().sum(1).mean()
    torch.testing.assert_close(penalty, by_hand)
    assert penalty.requires_grad


@pytest.mark.parametrize("loss", ["published", "r3gan"])
def test_losses_prefer_the_right_order(loss: str) -> None:
    high, low = torch.full((3, 1), 2.0), torch.full((3, 1), -2.0)
    assert discriminator_loss(loss, high, low) < discriminator_loss(loss, low, high)  # type: ignore[arg-type]
    assert generator_loss(loss, high, low) < generator_loss(loss, low, high)  # type: ignore[arg-type]


def test_the_relativistic_loss_sees_differences_alone() -> None:
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    torch.testing.assert_close(discriminator_loss("r3gan", real, fake), discriminator_loss("r3gan", real + 7, fake + 7))


def test_the_numbers_of_a_run_are_written(tmp_path: Path) -> None:
    toy.train(tmp_path, QUIET)
    lines = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13)) and set(lines[0]) == {"step", "loss_d", "loss_g"}
