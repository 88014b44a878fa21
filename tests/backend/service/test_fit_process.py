"""A fit in a backend process of its own: previewed, paused, killed and resumed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addon.link.client import Client
from addon.wire.errors import Cancelled, LatheError
from addon.wire.messages import FitRequest, RenderRequest, SceneRef, SheetResult
from backend.blobs import BlobStore
from backend.camera_path import read_camera_path
from tests.backend.fixtures import fits, photographed

from .process import running


@pytest.fixture
def autosave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENT_LATHE_AUTOSAVE_SECONDS", "0.3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def request_of(tmp_path: Path) -> Any:
    folder = photographed.write(tmp_path / "images", size=32, train=12, test=2)
    files = fits.upload(folder, BlobStore(tmp_path / "blobs"))
    camera = read_camera_path(folder / "transforms_test.json")[0]
    return lambda **changes: FitRequest("chair", files, fits.options(**{"steps": 1_000_000, **changes}), preview=camera)


def until(condition: Any, seconds: float = 300.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def saved_steps(client: Client) -> int:
    return next((stored.steps for stored in client.models().fits if stored.name == "chair"), 0)


def test_a_killed_backend_loses_nothing_that_was_saved_and_the_fit_goes_on(
    tmp_path: Path, request_of: Any, autosave: None
) -> None:
    with running(tmp_path) as first:
        job = first.client.submit(request_of())
        seen = until(lambda: saved_steps(first.client))
        last = first.client.events()[-1].sequence
        first.process.kill()
        first.process.wait()
    with running(tmp_path) as second:
        client = second.client
        error = next(event.error for event in client.events(last) if event.job == job and event.kind == "failed")
        assert error is not None and error.code == "backend_died" and error.remedy is not None
        assert (error.remedy.action, error.remedy.value) == ("resume_fit", "chair")
        saved = saved_steps(client)
        assert saved >= seen
        figures: list[dict[str, float]] = []
        request = FitRequest("chair", options=fits.options(steps=saved + 30), resume=True)
        result = client.run(request, on_event=lambda event: figures.append(event.figures))
        assert result.steps == saved + 30
        steps = [int(found["step"]) for found in figures if "step" in found]
        assert steps and steps[0] > saved and steps == sorted(steps)
        assert result.psnr is not None and result.world_from_camera.shape == (12, 4, 4)
        stored = next(stored for stored in client.models().fits if stored.name == "chair")
        assert stored.finished and stored.steps == saved + 30
        image = client.run(RenderRequest(SceneRef("chair"), request_of().preview))
        assert image.rgba.shape == (32, 32, 4)


def test_the_scene_is_seen_while_it_is_fitted_and_pausing_keeps_it(
    tmp_path: Path, request_of: Any, autosave: None
) -> None:
    with running(tmp_path) as backend:
        client = backend.client
        job = client.submit(request_of())
        until(lambda: "step" in client.events(0, 0, job)[-1].figures)
        views = []
        for _ in range(3):
            views.append(client.run(RenderRequest(SceneRef("chair"), request_of().preview), supersede="viewport").rgba)
            step = client.events(0, 0, job)[-1].figures["step"]
            until(lambda: client.events(0, 0, job)[-1].figures["step"] > step + 5)  # noqa: B023
        assert client.job(job).kind == "progress"
        assert len({view.tobytes() for view in views}) == 3, "the previews show the current scene"
        sheet = client.blob(until(lambda: client.events(0, 0, job)[-1].preview))
        assert isinstance(sheet, SheetResult) and sheet.images.dtype == np.uint8
        assert until(lambda: client.events(0, 0, job)[-1].figures.get("psnr")) > 3
        client.cancel(job)
        event = client.follow(job)
        assert event.kind == "cancelled"
        with pytest.raises(Cancelled):
            client.finish(event)
        assert saved_steps(client) >= event.figures["step"], "events leave steps out, a save does not"
        assert client.run(RenderRequest(SceneRef("chair"), request_of().preview)).rgba.shape == (32, 32, 4)


def test_a_fit_whose_files_were_not_sent_says_so(tmp_path: Path, request_of: Any) -> None:
    with running(tmp_path) as backend:
        for path in (tmp_path / "blobs").glob("??/*"):
            path.unlink()
        with pytest.raises(LatheError, match="Send the files again") as caught:
            backend.client.run(request_of())
        assert caught.value.code == "blob_missing"
