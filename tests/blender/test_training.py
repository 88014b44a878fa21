"""Trainings in background Blender, with a fake backend: start, pause, resume, stop, and generate from the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.blender import test_panels as panels
from tests.blender.helpers import pixels, press, refusal, run, settle, until

bpy: Any = None
lathe: Any = None


def images(folder: str, name: str) -> Path:
    """Write a folder of three files that are named as images."""
    place = Path(folder) / name
    (place / "more").mkdir(parents=True)
    for path in ("a.png", "b.jpg", "more/c.png", "notes.txt"):
        (place / path).write_bytes(f"{name} {path}".encode())
    return place


def ready(folder: str, name: str) -> Any:
    """Start, choose images, and return the panel's settings."""
    press("lathe.start_backend")
    settings = bpy.context.scene.lathe.training
    settings.model = settings.preset = settings.name = ""
    settings.folder = str(images(folder, name))
    return settings


def running(name: str) -> Any:
    session = lathe.link.session.session
    until(lambda: session.jobs.find("train") and session.jobs.find("train").figures)
    assert session.training == name
    return session.jobs.find("train")


def drawn() -> list[str]:
    panels.bpy, panels.lathe = bpy, lathe
    return panels.draw_all()["LATHE_PT_train"]


def test_a_training_becomes_a_model(tmp_path: str) -> None:
    settings = ready(tmp_path, "chairs")
    session = lathe.link.session.session
    assert press("lathe.train").result == "chairs_fakegan"
    assert session.models["chairs_fakegan"].source == "trained"
    assert session.training_report == ("64 images used",)
    assert "lathe.generate_from_training" in drawn() and settings.folder


def test_the_request_is_what_the_panel_says(tmp_path: str) -> None:
    settings = ready(tmp_path, "cups")
    press("lathe.choose_training", model="fakegan", preset="published")
    settings.name, settings.hours, settings.steps, settings.loss, settings.batch = "mine", 1.5, 20, "R3GAN", 4
    sent: list[Any] = []
    client = lathe.link.client.Client
    submit = client.submit
    client.submit = lambda self, request, **rest: (sent.append(request), submit(self, request, **rest))[1]
    try:
        press("lathe.train")
        press("lathe.resume_training", training="mine")
    finally:
        client.submit = submit
    settings.loss, settings.steps, settings.batch = "PRESET", 0, 0
    wire = lathe.wire.messages
    first, again = sent
    assert (first.name, first.model, first.preset, first.resume) == ("mine", "fakegan", "published", False)
    assert sorted(first.files) == ["a.png", "b.jpg", "more/c.png"]
    assert first.options == wire.TrainOptions(hours=1.5, steps=20, loss="r3gan", batch=4)
    assert (again.name, again.resume, again.options.hours) == ("mine", True, 2.5), "its hour is over: 1.5 more"


def test_a_training_shows_its_sheets_is_paused_and_resumed(tmp_path: str) -> None:
    settings, session = ready(tmp_path, "chairs"), lathe.link.session.session
    settings.name = "hang_up"
    run("lathe.train")
    job = running("hang_up")
    until(lambda: "hang_up" in session.models and "Lathe Training Curves" in bpy.data.images)
    sweep, curves = pixels("Lathe Training"), pixels("Lathe Training Curves")
    assert sweep.shape == curves.shape == (4, 6, 4)
    assert np.allclose(sweep[..., 0], 128 / 255, atol=1e-3) and np.allclose(curves[..., 2], 64 / 255, atol=1e-3)
    shown = drawn()
    assert {"lathe.pause_training", "lathe.stop_training", "Step 10 of 40", "1:02 hours left", "Losses: d 0.5, g 1.25",
            "lathe.generate_from_training", "icon"} <= set(shown) and "lathe.train" not in shown  # fmt: skip
    assert "running" in refusal("lathe.train")
    run("lathe.cancel_all") if lathe.ui.jobs.LATHE_OT_cancel_all.poll(bpy.context) else None
    assert not job.cancelling, "Esc leaves it running"
    lathe.registration.before_load()
    assert not job.cancelling, "so does opening another file"
    press("lathe.pause_training")
    assert job.state == "cancelled" and [stored.name for stored in session.stored_trainings] == ["hang_up"]
    shown = drawn()
    assert {"lathe.resume_training", "lathe.discard_training", "lathe.train"} <= set(shown)
    assert press("lathe.resume_training", training="hang_up").result == "hang_up"
    assert session.stored_trainings[0].steps == 20


def test_a_stopped_training_keeps_its_model_alone(tmp_path: str) -> None:
    settings, session = ready(tmp_path, "chairs"), lathe.link.session.session
    settings.name = "hang_it"
    run("lathe.train")
    running("hang_it")
    press("lathe.stop_training")
    settle()
    assert "hang_it" not in [stored.name for stored in session.stored_trainings] and "hang_it" in session.models
    assert "lathe.generate_from_training" in drawn()


def test_generate_from_it_chooses_the_model_and_renders_its_preview(tmp_path: str) -> None:
    ready(tmp_path, "vases")
    press("lathe.train")
    bpy.context.scene.lathe.model = "sphere"
    job = press("lathe.generate_from_training")
    assert job.kind == "preview" and job.error is None and bpy.context.scene.lathe.model == "vases_fakegan"
    assert pixels("Lathe Preview").shape[0] > 8


def test_what_is_missing_is_named(tmp_path: str) -> None:
    settings = ready(tmp_path, "chairs")
    settings.folder = ""
    assert "Choose the folder of the images" in refusal("lathe.train")
    settings.folder = str(Path(tmp_path) / "nowhere")
    assert "There is no folder" in press("lathe.train").error.message
    (Path(tmp_path) / "empty").mkdir()
    settings.folder = str(Path(tmp_path) / "empty")
    assert "holds no images" in press("lathe.train").error.message
    assert "No training is running" in refusal("lathe.pause_training")
    settings.name = "a b"
    assert "letters, digits" in refusal("lathe.train")


def test_models_and_presets_come_from_the_backend(tmp_path: str) -> None:
    settings = ready(tmp_path, "chairs")
    actions = lathe.training.actions
    assert (actions.chosen_model(bpy.context).name, actions.chosen_preset(bpy.context)) == ("fakegan", "small")
    press("lathe.choose_training", model="other")
    assert (actions.chosen_model(bpy.context).name, actions.chosen_preset(bpy.context)) == ("other", "tiny")
    assert "The images need cameras" not in drawn()
    settings.model = "of another version"
    assert actions.chosen_model(bpy.context).name == "fakegan" and "The images need cameras" in drawn()
