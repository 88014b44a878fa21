"""A model folder whose save was killed, at any step, holds the old model or the new one, and nothing else."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.models.card import ModelCard, read_card
from backend.models.store import find_models, read_tensors, save_model

STEPS = ("replace", "fsync", "unlink", "open")


def save(root: Path, label: str, value: float) -> None:
    save_model(root / "model", ModelCard("toy", label, "", "", False, {}), {"w": torch.full((1000,), value)})


def killed_after(root: Path, step: int) -> None:
    """Save in this process and end it, without any cleaning up, before the call to the system of this number."""
    count = 0

    def counted(original: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count > step:
                os._exit(9)
            return original(*arguments, **named)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    save(root, "new", 2.0)
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the process is forked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_any_kill_leaves_the_old_model_or_the_new_one(tmp_path: Path) -> None:
    seen = set()
    for step in range(100):
        root = tmp_path / str(step)
        save(root, "old", 1.0)
        process = multiprocessing.get_context("fork").Process(target=killed_after, args=(root, step))
        process.start()
        process.join(60)
        assert find_models([root]).keys() == {"model"}
        label = read_card(root / "model").label
        (value,) = set(read_tensors(root / "model/model.safetensors", "cpu")["w"].tolist())
        assert (label, value) in (("old", 1.0), ("new", 2.0))
        seen.add(label)
        save(root, "newer", 3.0)
        assert read_card(root / "model").label == "newer"
        assert {path.name for path in (root / "model").iterdir()} == {"card.json", "model.safetensors"}
        if process.exitcode == 0:
            assert label == "new"
            break
    else:
        pytest.fail("the save never came to its end")
    assert seen == {"old", "new"} and step > 5
