"""The command line that all adversarial trainings share, with the toy of this folder as the model."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from addon.wire.errors import Cancelled, LatheError
from backend.generators.hologan import recipe as registered
from backend.training.adversarial import command
from backend.training.adversarial.command import recipe, run_recipe
from backend.training.runs import CHECKPOINT, saved_of

Run = Callable[..., None]
SIDE = 4


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """70 images of one colour each, without cameras."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(70):
        Image.fromarray(np.full((6, 5, 3), 3 * number, np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Train the toy by its name in the registry."""
    found = {"toy": "tests.backend.training.adversarial.toy"}
    monkeypatch.setattr(registered, "TRAININGS", found, raising=False)
    return lambda *arguments: run_recipe(recipe("toy"), [str(argument) for argument in arguments])


def lines(out: Path) -> list[Any]:
    return [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]


def test_it_trains_for_the_steps_that_are_given_and_goes_on(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run("--data", images, "--out", out, "--steps", 3, "--device", "cpu")
    assert lines(out)[-1]["step"] == 3
    with pytest.raises(LatheError, match="--resume"):
        run("--data", images, "--out", out, "--steps", 5, "--device", "cpu")
    run("--data", images, "--out", out, "--steps", 5, "--resume", "--device", "cpu")
    assert lines(out)[-1]["step"] == 5


def test_an_interrupt_finishes_the_step_and_saves_it(run: Run, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def interrupt() -> None:
        while not (out / "losses.jsonl").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Cancelled, match=r"Stopped after step \d+; .* --resume"):
        run("--data", images, "--out", out, "--steps", 10**6, "--device", "cpu")
    assert saved_of(out / CHECKPOINT).step == lines(out)[-1]["step"] > 0
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_several_processes_are_started_by_torchrun_with_the_same_arguments(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(command, "start", lambda *given: started.append(given) or 3)
    arguments = ["--data", str(images), "--out", str(tmp_path / "run"), "--processes", "2"]
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert started == [(["train", "toy", *arguments], 2)] and ended.value.code == 3


def test_presets_and_their_changes() -> None:
    from .toy import RECIPE

    assert RECIPE.configuration().batch == 8 and RECIPE.configuration("large", loss="published").batch == 16
    changed = RECIPE.configuration("large", batch=4, seed=0, steps=7, loss="published")
    assert (changed.batch, changed.seed, changed.steps, changed.loss) == (4, 0, 7, "published")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "steps is 0: give 1 or more"),
        (["--batch", "-4"], "batch is -4: give 1 or more"),
        (["--hours", "-1"], "--hours is -1: give a number above 0"),
        (["--hours", "nan"], "--hours is nan"),
        (["--processes", "0"], "--processes is 0: give 1 or more"),
        (["--device", "cuda:9"], "cannot use the device 'cuda:9'"),
    ],
)
def test_bad_arguments_are_named(run: Run, images: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(LatheError, match=message):
        run("--data", images, "--out", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


def test_bad_folders_are_named(run: Run, images: Path, tmp_path: Path) -> None:
    with pytest.raises(LatheError, match="There is no folder"):
        run("--data", tmp_path / "nowhere", "--out", tmp_path / "run")
    with pytest.raises(LatheError, match=r"is a file: give a folder as --out"):
        run("--data", images, "--out", images / "0.png")
    for path in sorted(images.iterdir())[:10]:
        path.unlink()
    with pytest.raises(LatheError, match="60 images"):
        run("--data", images, "--out", tmp_path / "run")


def test_unknown_trainings_and_presets_name_what_there_is(run: Run) -> None:
    with pytest.raises(LatheError, match=r"no training of 'goya': choose.*toy"):
        recipe("goya")
    with pytest.raises(LatheError, match="Toy has no preset 'huge': choose small or large"):
        recipe("toy").configuration("huge")
