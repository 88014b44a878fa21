"""Loss curves: what is read of a resumed run, the picture, and TensorBoard's event files."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import numpy as np
import pytest

from backend.training.curves import EventFile, draw_curves, read_losses, record, scalars

BY_TENSORBOARD = base64.b64decode(
    "GAAAAAAAAACjf0siCQAAEED8VNlBGg1icmFpbi5FdmVudDoyM40v6SwAAAAAAAAA9K7MRQkAAGBA/FTZQRCsAioeCg0KBmxvc3NfZBUAAEA/Cg0K"
    "Bmxvc3NfZxUAAMC/4Fbm4A=="
)
"""Written by tensorboard 2.21.0: the version, then the event of the numbers below."""


def test_events_are_the_bytes_that_tensorboard_writes() -> None:
    made = record(scalars(1700000001.5, 300, {"loss_d": 0.75, "loss_g": -1.5}))
    assert made == BY_TENSORBOARD[-len(made) :]


def test_tensorboard_reads_an_event_file(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    killed = EventFile(tmp_path)
    for step in range(0, 500, 100):
        killed.add(step, {"loss_d": -1.0, "r1": -0.5})
    time.sleep(0.005)  # files are read in the order of their times
    resumed = EventFile(tmp_path)
    for step in range(300, 600, 100):
        resumed.add(step, {"loss_d": 1.0, "r1": -0.5})
    found = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert found.Tags()["scalars"] == ["loss_d", "r1"]
    values = [(event.step, event.value) for event in found.Scalars("loss_d")]
    assert values == [(0, -1.0), (100, -1.0), (200, -1.0), (300, 1.0), (400, 1.0), (500, 1.0)]


def test_a_resumed_run_replaces_the_steps_that_it_repeats(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    rows = [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 2.0}, {"step": 30, "loss": 3.0}, {"step": 20, "loss": 9.0}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 25, "lo')
    steps, values = read_losses(path)["loss"]
    assert steps.tolist() == [10, 20] and values.tolist() == [1.0, 9.0]
    assert read_losses(tmp_path / "none.jsonl") == {}


def test_a_falling_loss_falls_in_the_picture() -> None:
    steps = np.arange(1.0, 5001.0)
    picture = draw_curves({"loss_d": (steps, 1 - steps / 5000), "loss_g": (steps, np.full(5000, 0.5))}, (400, 200))
    pixels = np.asarray(picture).astype(int)
    blue = np.abs(pixels - (0x1F, 0x77, 0xB4)).sum(-1) < 40
    blue[:28] = False  # the legend
    rows, columns = np.nonzero(blue)
    assert len(rows) > 300
    assert np.corrcoef(rows, columns)[0, 1] > 0.99  # rows count downwards


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_any_number_of_quantities_fills_the_picture(count: int) -> None:
    curves = {f"value {n}": (np.array([5.0]), np.array([float(n)])) for n in range(count)}
    picture = draw_curves(curves, (448, 640))
    assert picture.size == (448, 640) and len(picture.getcolors(1 << 16) or ()) > 1
