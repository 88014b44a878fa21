"""The scenario of a generator's sliders: import a checkpoint, drag, watch, choose, walk. Runs inside Blender; see
driver.py."""

import hashlib
import sys
import time
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from driver import MODULE, OUT, Steps, Window, drive

SIZE = 128
OPENED = ("LATHE_PT_style_mix", "LATHE_PT_condition", "LATHE_PT_variants", "LATHE_PT_history", "LATHE_PT_walk")


class Screen:
    """What the preview image showed, and when: (seconds, size in pixels, hash of the pixels)."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int, str]] = []

    def look(self) -> None:
        image = bpy.data.images.get("Lathe Preview")
        if image is None:
            return
        flat = np.empty(len(image.pixels), np.float32)
        image.pixels.foreach_get(flat)
        now = image.size[0], hashlib.sha256(flat.tobytes()).hexdigest()[:12]
        if not self.seen or self.seen[-1][1:] != now:
            self.seen.append((round(time.monotonic(), 3), *now))


def settled(window: Window, seconds: float = 60) -> Steps:
    yield from window.until(lambda: not window.session.jobs.busy, "nothing is running", seconds)
    yield 0.8


def scenario(window: Window) -> Steps:
    prepare(window)
    yield from window.open_tab()
    yield from window.press("lathe.start_backend")
    yield from window.until_ready()
    yield from settled(window)
    yield from imported(window)
    yield from dragged(window)
    yield from chosen(window)
    yield from walked(window)


def prepare(window: Window) -> None:
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    window.preferences.python = str(OUT / "python")
    window.preferences.data = str(OUT / "data")
    panels = sys.modules[f"{MODULE}.addon.shape.panels"]
    for panel in (getattr(panels, name) for name in OPENED):  # as a user leaves them after a click on their heads
        bpy.utils.unregister_class(panel)
        panel.bl_options = set()
        bpy.utils.register_class(panel)
    bpy.context.scene.lathe.preview.size = SIZE
    # A sidebar that lies beside the viewport and not over it is drawn without it, which software GL is slow at.
    bpy.context.preferences.system.use_region_overlap = False
    window.area.spaces.active.overlay.show_overlays = False


def imported(window: Window) -> Steps:
    """A file that is none, and one that is: what the file browser hands over."""
    with bpy.context.temp_override(window=window.window, area=window.area):
        bpy.ops.lathe.import_checkpoint(filepath=str(OUT / "bad.pkl"))
    yield from settled(window)
    failed = window.session.jobs.failed
    window.note("refused", failed.error.message if failed else "")
    yield from window.screenshot("1_refused")
    yield from window.press("lathe.dismiss_error")
    with bpy.context.temp_override(window=window.window, area=window.area):
        bpy.ops.lathe.import_checkpoint(filepath=str(OUT / "faces.pkl"))
    yield from settled(window)
    scene = bpy.context.scene.lathe
    window.note("imported", {"model": scene.model, "through": scene.preview.source})


def dragged(window: Window) -> Steps:
    """Drag sliders with the live preview on."""
    scene = bpy.context.scene.lathe
    scene.preview.live = True
    screen = Screen()

    def until_full() -> Steps:
        def full() -> bool:
            screen.look()
            return not window.session.jobs.busy and bool(screen.seen) and screen.seen[-1][1] == SIZE

        yield from window.until(full, "the full picture came", 60)

    yield from until_full()
    sliders = (("latent.mix_geometry", scene.latent, 0), ("view.yaw", scene.view, 16))
    for path, owner, down in sliders:
        yield from window.scroll(down)  # nearer to it, which saves looking
        name = path.rpartition(".")[2]
        before, first = getattr(owner, name), len(screen.seen)
        yield from window.drag(f"lathe.{path}", 60, during=screen.look)
        released = round(time.monotonic(), 3)
        yield from until_full()
        window.note(
            f"dragged {name}",
            {"from": before, "to": getattr(owner, name), "released": released, "seen": screen.seen[first - 1 :]},
        )
    scene.preview.live = False
    yield from window.screenshot("2_dragged")
    yield from window.scroll(-10)


def chosen(window: Window) -> Steps:
    """Variants, one of them by a click; back by the history."""
    scene = bpy.context.scene.lathe
    scene.latent.mix_geometry, scene.variant_count = 0.0, 8
    yield from window.press("lathe.variants")
    yield from settled(window)
    yield from window.screenshot("3_variants")
    scene.latent.seed_a = 50
    yield from window.press("lathe.use_latent")
    window.note("variants", [item.latent.seed_a for item in scene.variants])
    window.note("variant_chosen", scene.latent.seed_a)
    yield from window.press("lathe.preview")
    yield from settled(window)
    window.note("history", [(item.latent.seed_a, bool(item.thumbnail)) for item in scene.history])
    with bpy.context.temp_override(window=window.window, area=window.area):
        bpy.ops.lathe.star_latent(where="history", index=0)
    yield from window.screenshot("4_history")
    window.note("favourites", sum(item.starred for item in scene.history))


def walked(window: Window) -> Steps:
    """Keyframe a walk and render it."""
    scene = bpy.context.scene
    scene.lathe.walk.seeds, scene.lathe.walk.frames = "1, 2, 3", 3
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.frame_start, scene.frame_end = 1, 7
    scene.lathe.path.source, scene.lathe.path.directory = "SLIDERS", str(OUT / "frames")
    scene.frame_set(1)
    yield from window.press("lathe.keyframe_walk")
    yield from window.press("lathe.render_path")
    yield from settled(window, 120)
    yield from window.screenshot("5_walk")
    made = sorted((OUT / "frames").glob("*.png"))
    window.note("walk", [hashlib.sha256(path.read_bytes()).hexdigest()[:12] for path in made])


drive(scenario)
