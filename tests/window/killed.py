"""The scenario for the test that kills Blender: a job is running on the backend. Runs inside Blender; see driver.py."""

import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).parent))

from driver import OUT, Steps, Window, drive


def scenario(window: Window) -> Steps:
    window.preferences.python = str(OUT / "python")
    yield from window.open_tab()
    yield from window.press("lathe.start_backend")
    yield from window.until_ready()
    bpy.context.scene.lathe.mesh.resolution = 768
    yield from window.press("lathe.generate_mesh")
    yield from window.until(lambda: window.session.jobs.find("mesh"), "the job is listed", 5)
    job = window.session.jobs.find("mesh")
    yield from window.until(lambda: job.fraction > 0, "the job reports", 60)
    window.note("backend_pid", window.session.pid)
    yield 60.0


drive(scenario)
