"""The scenario of a training by buttons: train, watch, pause, resume, stop, generate from the result. Runs inside
Blender; see driver.py."""

import sys
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from driver import MODULE, OUT, Steps, Window, drive

STEPS = 20  # to train before the pause


def settled(window: Window, seconds: float = 60) -> Steps:
    yield from window.until(lambda: not window.session.jobs.busy, "nothing is running", seconds)
    yield 0.8


def scenario(window: Window) -> Steps:
    prepare(window)
    yield from window.open_tab()
    yield from window.press("lathe.start_backend")
    yield from window.until_ready()
    yield from settled(window)
    window.note("trainable", [model.name for model in window.session.trainings])
    yield from window.scroll(22)  # towards the panel Train, which saves looking for its buttons
    yield from window.screenshot("1_ready")
    yield from train(window)
    yield from resume(window)
    yield from generate(window)


def prepare(window: Window) -> None:
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    window.preferences.python = str(OUT / "python")
    window.preferences.data = str(OUT / "data")
    panel = sys.modules[f"{MODULE}.addon.training.panels"].LATHE_PT_train
    bpy.utils.unregister_class(panel)  # as a user leaves it after a click on its head
    panel.bl_options = set()
    bpy.utils.register_class(panel)
    settings = bpy.context.scene.lathe.training
    settings.model, settings.folder, settings.name = "pigan", str(OUT / "images"), "balls"
    settings.hours, settings.steps, settings.batch = 0.0, 100_000, 4
    bpy.context.scene.lathe.preview.size, bpy.context.scene.lathe.preview.source = 64, "SLIDERS"


def look(name: str) -> dict[str, object]:
    """The size of an image, and how many colours it has."""
    image = bpy.data.images[name]
    flat = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(flat)
    return {"size": list(image.size), "colors": len(np.unique((flat.reshape(-1, 4) * 255).astype(np.uint8), axis=0))}


def running(window: Window, steps: float) -> Steps:
    """Wait until the training has done so many steps. Returns its job."""
    yield from window.until(lambda: window.session.jobs.find("train"), "the training is listed", 20)
    job = window.session.jobs.find("train")
    yield from window.until(lambda: job.ended or job.figures.get("step", 0) >= steps, f"{steps:g} steps", 300)
    return job


def train(window: Window) -> Steps:
    """Train until there are twenty steps and a sheet, and pause."""
    yield from window.press("lathe.train")
    job = yield from running(window, STEPS)
    yield from window.until(lambda: job.ended or "Lathe Training Curves" in bpy.data.images, "a sheet", 300)
    yield from window.screenshot("2_training")
    window.note("figures", dict(job.figures))
    window.note("sheets", [look("Lathe Training"), look("Lathe Training Curves")])
    yield from window.press("lathe.pause_training")
    yield from window.until(lambda: job.ended, "the training is paused", 120)
    yield from settled(window)
    stored = {stored.name: stored.steps for stored in window.session.stored_trainings}
    window.note("paused", {"state": job.state, "stored": stored, "model": "balls" in window.session.models})
    yield from window.screenshot("3_paused")


def resume(window: Window) -> Steps:
    """Go on for some steps, and stop for good."""
    yield from window.press("lathe.resume_training")
    job = yield from running(window, window.results["paused"]["stored"]["balls"] + 5)
    window.note("resumed", dict(job.figures))
    yield from window.press("lathe.stop_training")
    yield from window.until(lambda: job.ended, "the training is stopped", 120)
    yield from settled(window)
    stored = [stored.name for stored in window.session.stored_trainings]
    window.note("stopped", {"state": job.state, "stored": stored, "model": "balls" in window.session.models})
    yield from window.screenshot("4_stopped")


def generate(window: Window) -> Steps:
    yield from window.press("lathe.generate_from_training")
    yield from window.until(lambda: "Lathe Preview" in bpy.data.images, "a preview", 120)
    yield from settled(window)
    window.note("generated", {"model": bpy.context.scene.lathe.model, **look("Lathe Preview")})
    yield from window.screenshot("5_generated")


drive(scenario)
