"""The task `train`: a generator from uploaded images, paused, resumed and discarded. With a tiny GRAF."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from addon.wire import payload
from addon.wire.errors import BlobMissing, Cancelled, InvalidRequest, UnusableDataset
from addon.wire.messages import (
    DiscardTrainingRequest,
    RenderRequest,
    SceneRef,
    TrainOptions,
    TrainRequest,
)
from backend.cameras import orbit
from backend.folders import user_models
from backend.progress import silent
from backend.tasks import train as task
from backend.tasks.render import render
from backend.tasks.train import discard_training, train
from backend.tasks.workspace import Workspace
from backend.training.adversarial.stored import stored_trainings, trainings_folder
from tests.backend.fixtures import shapes, trainings

Make = Callable[..., TrainRequest]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trainings.write_images(tmp_path_factory.mktemp("images") / "balls")


@pytest.fixture
def workspace(data: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    trainings.use(monkeypatch)
    return Workspace("cpu")


@pytest.fixture
def request_of(images: Path, workspace: Workspace) -> Make:
    files = trainings.upload(images, workspace.blobs)
    return lambda name="balls", **changes: TrainRequest(
        name, "graf", files=files, options=TrainOptions(**{"hours": 0.0, "steps": 12, **changes})
    )


class Watcher:
    """Progress that cancels when the training reaches a step, and records its reports."""

    def __init__(self, step: float = float("inf")) -> None:
        self.step, self.figures, self.images = step, list[dict[str, float]](), list[np.ndarray]()

    def __call__(self, fraction: float, text: str = "", preview: Any = None, *, figures: Any = None) -> None:
        assert 0 <= fraction <= 1
        if preview is not None:
            self.images.append(preview)
        if figures is not None:
            self.figures.append(figures)
            if figures["step"] >= self.step:
                raise Cancelled


def checkpoint(name: str) -> Path:
    return trainings_folder() / name / "run" / "checkpoint.safetensors"


def test_a_training_becomes_a_model_that_renders(workspace: Workspace, request_of: Make) -> None:
    watched = Watcher()
    result = train(request_of(), watched, workspace)
    assert (result.name, result.steps) == ("balls", 12) and result.seconds > 0
    assert result.report[0].startswith("balls: 64 of 64 images used")
    assert [figures["step"] for figures in watched.figures] == list(range(1, 13))
    assert {"loss_d", "loss_g", "seconds", "seconds_left"} <= watched.figures[-1].keys()
    assert len(watched.images) == 1, "the sheet at the end"
    info = workspace.generator("balls").info
    assert (info.kind, info.label, info.source) == ("graf", "balls (GRAF)", "trained")
    assert "balls" in {model.name for model in workspace.models().models}
    image = render(RenderRequest(SceneRef("balls"), orbit(info, 16)), silent, workspace)
    assert image.rgba.shape == (16, 16, 4) and np.isfinite(image.rgba).all()
    payload.unpack(payload.pack(result))


def test_pausing_keeps_the_state_and_resuming_gives_what_an_uninterrupted_training_does(
    workspace: Workspace, request_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(request_of("whole"), silent, workspace)
    with pytest.raises(Cancelled):
        train(request_of(), Watcher(5), workspace)
    (stored,) = (found for found in stored_trainings() if found.name == "balls")
    assert (stored.model, stored.steps, stored.total_steps, stored.finished) == ("graf", 5, 12, False)
    assert workspace.generator("balls").info.source == "trained", "the paused training is a model already"
    result = train(TrainRequest("balls", options=TrainOptions(hours=0.0), resume=True), silent, workspace)
    assert result.steps == 12 and result.seconds > stored.seconds
    whole, resumed = (load_file(user_models() / name / "model.safetensors") for name in ("whole", "balls"))
    assert whole.keys() == resumed.keys() and all((whole[name] == resumed[name]).all() for name in whole)
    assert [found.finished for found in stored_trainings()] == [True, True]


def test_the_sheet_comes_as_a_preview_of_sweep_and_curves_while_it_trains(
    workspace: Workspace, request_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "FIRST_SHEET_SECONDS", 0.0)
    watched = Watcher(4)
    with pytest.raises(Cancelled):
        train(request_of(), watched, workspace)
    sheet = watched.images[0]
    assert sheet.dtype == np.uint8 and sheet.shape == (2, 640, 448, 4)  # 5 seeds in two rows, 7 views of 16²
    assert (sheet[0, :60] > 200).all() and (sheet[0, 68:124, :, :3] < 50).all()  # white views of nothing, no depth yet
    assert len(np.unique(sheet[1])) > 10


def test_hours_end_a_training_over_all_its_sessions(
    workspace: Workspace, request_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = 0.3 / 3600
    result = train(request_of(hours=hours, steps=1_000_000), silent, workspace)
    assert 0 < result.steps < 1_000_000
    assert stored_trainings()[0].finished
    again = TrainRequest("balls", options=TrainOptions(hours=hours), resume=True)
    assert train(again, silent, workspace).steps == result.steps, "its time is over"
    longer = replace(again, options=TrainOptions(hours=2 * hours))
    assert train(longer, silent, workspace).steps > result.steps


def test_a_discarded_training_leaves_its_model(workspace: Workspace, request_of: Make) -> None:
    train(request_of(steps=2), silent, workspace)
    assert discard_training(DiscardTrainingRequest("balls"), silent, workspace).name == "balls"
    assert stored_trainings() == () and (user_models() / "balls" / "card.json").exists()
    for request in (DiscardTrainingRequest("balls"), TrainRequest("balls", resume=True)):
        with pytest.raises(InvalidRequest, match=r"There is no training named 'balls' to continue. .*: none") as caught:
            (train if isinstance(request, TrainRequest) else discard_training)(request, silent, workspace)  # type: ignore[operator]
        assert caught.value.remedy is not None and caught.value.remedy.action == "restart_training"
    train(request_of(steps=1), silent, workspace)  # the model of a training may be replaced by another training


def test_the_name_of_another_model_is_refused(workspace: Workspace, request_of: Make, shapes_model: str) -> None:
    with pytest.raises(InvalidRequest, match="not made by a training"):
        train(request_of("hologan_chairs"), silent, workspace)
    card = json.loads((user_models() / shapes_model / "card.json").read_text())
    assert card["kind"] == shapes.KIND
    with pytest.raises(InvalidRequest, match="not made by a training"):
        train(request_of(shapes_model), silent, workspace)


def test_unusable_images_keep_the_earlier_training(workspace: Workspace, request_of: Make) -> None:
    train(request_of(steps=2), silent, workspace)
    before = checkpoint("balls").read_bytes()
    request = request_of()
    few = replace(request, files=dict(list(request.files.items())[:10]))
    missing = replace(request, files={**request.files, "more.png": "0" * 64})
    with pytest.raises(UnusableDataset, match="Only 10 images of balls can be used"):
        train(few, silent, workspace)
    with pytest.raises(BlobMissing, match=r"more\.png"):
        train(missing, silent, workspace)
    with pytest.raises(InvalidRequest, match="no preset 'huge'"):
        train(replace(request, preset="huge"), silent, workspace)
    with pytest.raises(InvalidRequest, match="no training of 'goya'"):
        train(replace(request, model="goya"), silent, workspace)
    assert checkpoint("balls").read_bytes() == before
    assert [path.name for path in trainings_folder().iterdir()] == ["balls"]


def test_what_can_be_trained_is_listed_from_the_recipes(workspace: Workspace) -> None:
    found = {model.name: model for model in workspace.models().trainings}
    assert found["graf"].presets == ("tiny", "published") and found["graf"].label == "GRAF"
    assert all(model.label and model.description.endswith(".") and model.presets for model in found.values())
