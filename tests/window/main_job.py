"""The scenario of a first afternoon with the extension, button by button. Runs inside Blender; see driver.py."""

import os
import signal
import sys
import time
from pathlib import Path

import bpy
from mathutils import Euler, Quaternion

sys.path.insert(0, str(Path(__file__).parent))

from driver import MODULE, OUT, Steps, Window, drive


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def generated() -> list[str]:
    return sorted(item.name for item in bpy.data.objects if item.lathe.is_generated)


def closed(mesh: bpy.types.Mesh) -> bool:
    """Whether each edge lies between two faces."""
    counts = [0] * len(mesh.edges)
    for loop in mesh.loops:
        counts[loop.edge_index] += 1
    return set(counts) == {2}


def frame_shapes(window: Window, *, width: float = 1.0) -> None:
    """Turn the viewport to the generated shapes, which stand around the origin, `width` metres wide."""
    view = window.area.spaces.active.region_3d
    view.view_location = (0.15 * width, 0.0, 0.0)
    view.view_distance = 2.2 * width
    view.view_rotation = Euler((1.2, 0.0, 0.5)).to_quaternion()


def generate(window: Window, seconds: float = 120.0) -> Steps:
    """Press Generate Mesh and wait for the object."""
    before = set(generated())
    yield from window.press("lathe.generate_mesh")
    yield from window.until(lambda: set(generated()) - before, "a generated object", seconds)
    yield from settled(window)
    return (set(generated()) - before).pop()


def settled(window: Window) -> Steps:
    """Wait until nothing runs and the panels stand still: a job that ends makes the list above the buttons shorter."""
    yield from window.until(lambda: not window.session.jobs.busy, "nothing is running", 60)
    yield 0.8


def scenario(window: Window) -> Steps:
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    window.preferences.python = str(OUT / "python")
    shading = window.area.spaces.active.shading
    shading.show_cavity, shading.cavity_type = True, "BOTH"
    yield from window.open_tab()
    yield from window.screenshot("1_off")

    yield from window.press("lathe.start_backend")
    window.note("starting", window.session.state)
    seconds = yield from window.until_ready()
    window.note("seconds_to_ready", seconds)
    window.note("backend_pid", window.session.pid)
    yield from settled(window)
    yield from window.screenshot("2_ready")

    yield from first_shape(window)
    yield from preview(window)
    yield from cancel(window)
    yield from backend_killed(window)
    yield from reload(window)
    yield from disable_and_enable(window)


def first_shape(window: Window) -> Steps:
    """Generate, undo, redo."""
    name = yield from generate(window)
    mesh = bpy.data.objects[name].data
    window.note("first_object", name)
    window.note("first_faces", len(mesh.polygons))
    window.note("first_closed", closed(mesh))
    frame_shapes(window)
    yield from window.screenshot("3_first_shape")
    yield from window.key("Z", ctrl=True)
    yield from window.until(lambda: name not in bpy.data.objects, "undo took the object away", 5)
    yield from window.key("Z", ctrl=True, shift=True)
    yield from window.until(lambda: name in bpy.data.objects, "redo brought it back", 5)
    window.note("faces_after_redo", len(bpy.data.objects[name].data.polygons))


def preview(window: Window) -> Steps:
    """One preview by its button, then a live one that follows a turning view."""
    yield from window.press("lathe.preview")
    yield from window.until(lambda: "Lathe Preview" in bpy.data.images, "the preview image", 60)
    yield from window.until(lambda: not window.session.jobs.busy, "the preview ended", 60)
    image = bpy.data.images["Lathe Preview"]
    alpha = list(image.pixels)[3::4]
    window.note("preview_cover", sum(value > 0.5 for value in alpha) / len(alpha))
    bpy.context.scene.lathe.preview.live = True
    for _ in range(40):
        view = window.area.spaces.active.region_3d
        view.view_rotation = Quaternion((0.0, 0.0, 1.0), 0.05) @ view.view_rotation
        yield 0.05
    yield 3.0
    yield from window.screenshot("4_live_preview")
    bpy.context.scene.lathe.preview.live = False
    yield from window.until(lambda: not window.session.jobs.busy, "the live preview ended", 30)


def start_long_job(window: Window) -> Steps:
    bpy.context.scene.lathe.mesh.resolution = 768
    yield from window.press("lathe.generate_mesh")
    yield from window.until(lambda: window.session.jobs.find("mesh"), "the job is listed", 5)
    job = window.session.jobs.find("mesh")
    yield from window.until(lambda: job.fraction > 0, "the job reports", 60)
    return job


def cancel(window: Window) -> Steps:
    """ESC over the viewport ends a job and leaves nothing behind."""
    before = generated()
    job = yield from start_long_job(window)
    yield from window.screenshot("5_running")
    started = time.monotonic()
    yield from window.key("ESC")
    yield from window.until(lambda: job.ended, "ESC ended the job", 10)
    window.note("cancel", {"state": job.state, "seconds": time.monotonic() - started, "left": generated() == before})
    yield from settled(window)


def backend_killed(window: Window) -> Steps:
    """SIGKILL in the middle of a job: a sentence, a button, and the next press works."""
    yield from start_long_job(window)
    pid = window.session.pid
    os.kill(pid, signal.SIGKILL)
    seconds = yield from window.until(lambda: window.session.state == "died", "the panel knows", 10)
    window.note("death", {"seconds": seconds, "line": window.session.line})
    yield from settled(window)
    yield from window.screenshot("6_killed")
    yield from window.press("lathe.restart_backend")
    yield from window.until_ready()
    yield from settled(window)
    bpy.context.scene.lathe.mesh.resolution = 64
    window.note("object_after_restart", (yield from generate(window)))


def reload(window: Window) -> Steps:
    """Save, open the file again, and go on."""
    names = generated()
    path = str(OUT / "saved.blend")
    with bpy.context.temp_override(window=window.window):
        bpy.ops.wm.save_as_mainfile(filepath=path)
        bpy.ops.wm.open_mainfile(filepath=path)
    yield 1.0
    window.note("names_survive_reload", generated() == names)
    window.note("state_after_reload", window.session.state)
    yield from window.open_tab()
    window.note("object_after_reload", (yield from generate(window)))


def disable_and_enable(window: Window) -> Steps:
    """The extension goes without a trace, its process too, and comes back."""
    import addon_utils

    pid = window.session.pid
    window.recorder.on = False  # loading code is not work on a button
    addon_utils.disable(MODULE, default_set=True)
    started = time.monotonic()
    while alive(pid) and time.monotonic() - started < 10:
        yield 0.05
    window.note("seconds_to_end_when_disabled", time.monotonic() - started)
    window.note("traces", [name for name in dir(bpy.types) if name.startswith("LATHE_")])
    yield 0.5
    addon_utils.enable(MODULE, default_set=True)
    window.recorder.on = True
    yield from window.open_tab()
    window.preferences.python = str(OUT / "python")
    yield from window.press("lathe.start_backend")
    yield from window.until_ready()
    yield from settled(window)
    window.note("objects_after_enable", len(generated()))


drive(scenario)
