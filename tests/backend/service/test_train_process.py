"""A training in a backend process of its own: looked at while it trains, paused, killed and resumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from addon.link.client import Client
from addon.wire.messages import GenerateRequest, Latent, StoredTraining, TrainOptions, TrainRequest
from backend.blobs import BlobStore
from tests.backend.fixtures import trainings

from .process import running


@pytest.fixture
def request_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainRequest]:
    monkeypatch.setenv("LATENT_LATHE_AUTOSAVE_SECONDS", "0.3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    files = trainings.upload(trainings.write_images(tmp_path / "balls"), BlobStore(tmp_path / "blobs"))
    return lambda steps: TrainRequest("balls", "graf", files=files, options=TrainOptions(hours=0.0, steps=steps))


def until(condition: Callable[[], Any], seconds: float = 200.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def stored(client: Client) -> StoredTraining | None:
    return next(iter(client.models().stored_trainings), None)


def test_another_model_is_seen_while_one_trains_and_a_killed_training_goes_on(
    tmp_path: Path, request_of: Callable[..., TrainRequest]
) -> None:
    with running(tmp_path) as first:
        client = first.client
        job = client.submit(request_of(1_000_000))
        until(lambda: "loss_d" in client.events(0, 0, job)[-1].figures)
        view = client.submit(GenerateRequest("deepsdf_chairs", (Latent(),), 16))
        client.cancel(job)
        assert client.follow(job).kind == "cancelled"  # paused
        assert client.finish(client.follow(view)).images.shape == (1, 16, 16, 4)
        paused = stored(client)
        assert paused is not None and paused.steps > 0 and not paused.finished
        job = client.submit(TrainRequest("balls", options=TrainOptions(hours=0.0), resume=True))
        until(lambda: stored(client).steps > paused.steps)
        last = client.events()[-1].sequence
        first.process.kill()
        first.process.wait()
    with running(tmp_path) as second:
        client = second.client
        error = next(event.error for event in client.events(last) if event.job == job and event.kind == "failed")
        assert error is not None and error.code == "backend_died" and error.remedy is not None
        assert (error.remedy.action, error.remedy.value) == ("resume_training", "balls")
        done = stored(client)
        assert done is not None
        figures: list[dict[str, float]] = []
        request = TrainRequest("balls", options=TrainOptions(hours=0.0, steps=done.steps + 20), resume=True)
        result = client.run(request, on_event=lambda event: figures.append(event.figures))
        assert result.steps == done.steps + 20
        assert min(found["step"] for found in figures if "step" in found) > done.steps
        sheet = client.run(GenerateRequest("balls", (Latent(1), Latent(2)), 16))
        assert sheet.images.shape == (2, 16, 16, 4)
