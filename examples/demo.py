"""The main workflow as a Python script: shapes, a radiance field, renders and exports through the add-on's operators.

    python build.py demo      makes the environment and the extension, and runs this

The extension is installed from its zip into a new Blender. The script starts the backend, generates shapes with the
starter model, adds them to the scene, and renders and exports the scene. Background Blender has no event loop, so a
script waits for a job with `jobs.wait_for`.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

# Before bpy is imported: a temporary folder for Blender's settings and extensions, apart from the user's.
TEMPORARY = tempfile.TemporaryDirectory(prefix="latent-lathe-demo-", ignore_cleanup_errors=True)
os.environ["BLENDER_USER_RESOURCES"] = TEMPORARY.name
os.environ["LATENT_LATHE_DATA"] = str(Path(TEMPORARY.name) / "data")

import bpy  # noqa: E402
import studio  # noqa: E402

EXTENSION = "bl_ext.user_default.latent_lathe"
HEROES = (13, 37, 6)  # seeds of the three shapes in the middle
SIDEWAYS = 0.6  # radians that they are turned by, so that one sees their length
BETWEEN = 4  # ring places from one hero to the next: 12 in all
FRAMES = 14
TURNTABLE_SIZE = 224  # pixels
FIT_IMAGES, FIT_SIZE, FIT_STEPS = 36, 160, 700  # images of one shape, their pixels, training steps
BESIDE = 0.85  # metres from the shape to the mesh of its field


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extension", type=Path, required=True, help="the zip that build.py package made")
    parser.add_argument("--output", type=Path, required=True, help="folder for the artefacts")
    arguments = parser.parse_args()
    if not arguments.extension.is_file():
        parser.error(f"{arguments.extension} is not there: python build.py package makes it")
    demo(arguments.extension.resolve(), arguments.output.resolve())


def demo(extension: Path, output: Path) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("shape_*.glb"):
        old.unlink()
    with stage("install the extension"):
        bpy.ops.extensions.package_install_files(
            repo="user_default", filepath=str(extension), enable_on_install=True, overwrite=True
        )
        bpy.context.preferences.addons[EXTENSION].preferences.python = sys.executable
    session = addon("link.session").session
    try:
        with stage("start the backend"):
            press("lathe.start_backend")
            print(f"  {session.line}: {', '.join(info.label for info in session.models.values())}", flush=True)
        with stage("contact sheet"):
            contact_sheet(output / "contact_sheet.png")
        studio.clear()
        with stage(f"{len(HEROES)} shapes as meshes"):
            heroes = [hero(index) for index in range(len(HEROES))]
        with stage(f"{len(HEROES) * BETWEEN} shapes in between"):
            for place in range(len(HEROES) * BETWEEN):
                in_between(place)
        with stage(f"camera path, {FRAMES} frames"):
            turntable(output / "turntable.mp4", heroes[0])
        with stage("export"):
            for item, seed in zip(heroes, HEROES):
                export(item, output / f"shape_{seed}.glb")
        studio.build()
        studio.use_cycles(samples=12)
        with stage(f"fit a field to {FIT_IMAGES} images of one shape"):
            fitted = field_of(heroes[0])
        press("lathe.stop_backend")
    finally:
        session.stop()
    with stage("photograph"):
        photograph_pair(heroes[0], fitted, output / "fit.png")
        studio.add_camera(FRAMES)
        studio.render(output / "scene.png", 960, 540)
        bpy.context.preferences.filepaths.save_version = 0  # no scene.blend1 beside it
        bpy.ops.wm.save_as_mainfile(filepath=str(output / "scene.blend"), compress=True)
    for path in sorted(output.iterdir()):
        print(f"  {path}  {path.stat().st_size / 1e3:.0f} kB")


# -------------------------------------------------------------------------------------------------------------- buttons


def addon(name: str) -> ModuleType:
    """Return a module of the installed add-on."""
    return importlib.import_module(f"{EXTENSION}.addon.{name}")


def press(button: str, **values: Any) -> Any:
    """Call an operator of the add-on, wait for its job and return the job's result."""
    jobs = addon("link.session").session.jobs
    before = len(jobs.all) and jobs.all[-1].number
    group, name = button.split(".")
    getattr(getattr(bpy.ops, group), name)(**values)
    started = [job for job in jobs.all if job.number > before]
    return jobs.wait_for(started[-1]) if started else None


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Print a label and the duration of the block."""
    print(f"{name} …", flush=True)
    started = time.monotonic()
    yield
    print(f"{name}: {time.monotonic() - started:.1f} s", flush=True)


# --------------------------------------------------------------------------------------------------------------- shapes


def hero(index: int) -> bpy.types.Object:
    """Generate one of the three shapes at full resolution and place it in the middle."""
    settings = bpy.context.scene.lathe
    settings.latent.seed_a = HEROES[index]
    settings.latent.mix_geometry = 0.0
    settings.mesh.resolution = 192
    item = bpy.data.objects[press("lathe.generate_mesh")]
    studio.place(item, 2 * math.pi * index / len(HEROES), studio.HERO_RADIUS, 1.05)
    item.rotation_euler.z += SIDEWAYS
    return item


def in_between(place: int) -> bpy.types.Object:
    """Generate a small shape interpolated between two heroes, and place it on the rim."""
    settings = bpy.context.scene.lathe
    first, step = divmod(place, BETWEEN)
    settings.latent.seed_a = HEROES[first]
    settings.latent.seed_b = HEROES[(first + 1) % len(HEROES)]
    settings.latent.mix_geometry = step / BETWEEN
    settings.mesh.resolution = 96
    item = bpy.data.objects[press("lathe.generate_mesh")]
    item.name = f"Between {place:02d}"
    studio.place(item, 2 * math.pi * place / (len(HEROES) * BETWEEN), studio.RING_RADIUS, 0.5)
    return item


def field_of(item: bpy.types.Object) -> bpy.types.Object:
    """Capture one shape from all sides, fit a radiance field, and place the field's mesh beside the shape."""
    scene = bpy.context.scene
    capture, field = scene.lathe.capture, scene.lathe.field
    capture.rig, capture.target, capture.count, capture.test = "SPHERE", "SELECTED", FIT_IMAGES, 2
    capture.fill, capture.size = 0.9, FIT_SIZE
    field.data_sets, field.name = str(Path(TEMPORARY.name) / "data_sets"), "Fitted"
    field.preset, field.steps = "DRAFT", FIT_STEPS
    select(item)
    scene.render.resolution_x = scene.render.resolution_y = FIT_SIZE
    scene.cycles.use_denoising = False
    with only(item), studio.even_light():
        press("lathe.capture")
    scene.cycles.use_denoising = True
    box = bpy.data.objects[press("lathe.fit")]
    psnr = next(fit.psnr for fit in addon("link.session").session.fits if fit.name == field.name)
    print(f"  {psnr:.1f} dB on held-out images", flush=True)
    select(box)
    box.location.x += BESIDE
    bpy.context.view_layer.update()
    box.lathe.mesh.resolution = 128
    return bpy.data.objects[press("lathe.generate_mesh")]


@contextmanager
def only(*items: bpy.types.Object) -> Iterator[None]:
    """Hide all other meshes from renders within the block."""
    hidden = [o for o in bpy.data.objects if o.type == "MESH" and o not in items and not o.hide_render]
    for item in hidden:
        item.hide_render = True
    yield
    for item in hidden:
        item.hide_render = False


def select(item: bpy.types.Object) -> None:
    for other in bpy.context.view_layer.objects:
        other.select_set(other == item)
    bpy.context.view_layer.objects.active = item


def export(item: bpy.types.Object, path: Path) -> None:
    select(item)
    bpy.ops.lathe.export(filepath=str(path), format="GLB")


# ------------------------------------------------------------------------------------------------------------- images


def contact_sheet(path: Path) -> None:
    """Render sixteen seeds in two rows, and eight steps of an interpolation below them."""
    wire, session = addon("wire.messages"), addon("link.session").session
    seeds = [wire.Latent(seed_a=seed) for seed in range(16)]
    steps = [wire.Latent(HEROES[0], HEROES[1], mix_geometry=step / 7) for step in range(8)]
    request = wire.GenerateRequest(bpy.context.scene.lathe.model, (*seeds, *steps), size=128)
    job = session.jobs.start("Contact sheet", lambda job: session.ask(job, request), kind="sheet")
    images = [over_backdrop(image) for image in session.jobs.wait_for(job).images]
    rows = [np.concatenate(images[start : start + 8], 1) for start in (0, 8, 16)]
    Image.fromarray(np.concatenate(rows, 0)).save(path, optimize=True)


def photograph_pair(shape: bpy.types.Object, fitted: bpy.types.Object, path: Path) -> None:
    """Render a shape and the mesh of its field side by side, then hide the mesh in the other images."""
    scene = bpy.context.scene
    data = bpy.data.cameras.new("Pair")
    camera = bpy.data.objects.new("Pair", data)
    scene.collection.objects.link(camera)
    middle = shape.location.copy()
    middle.x, middle.z = middle.x + BESIDE / 2, 0.62
    camera.location = middle + type(middle)((0.5, -3.0, 1.0))
    camera.rotation_euler = (middle - camera.location).to_track_quat("-Z", "Y").to_euler()
    scene.camera = camera
    with only(shape, fitted, bpy.data.objects["Floor"], bpy.data.objects["Platter"]):
        studio.render(path, 640, 427)
    bpy.data.objects.remove(camera)
    fitted.hide_render = fitted.hide_viewport = True


def turntable(path: Path, item: bpy.types.Object) -> None:
    """Render an orbit around one shape that morphs into another, with the add-on's Camera Path."""
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = TURNTABLE_SIZE
    camera = circling_camera(item)
    settings = scene.lathe
    settings.latent.seed_a, settings.latent.seed_b = HEROES[0], HEROES[1]
    for frame, mix in ((1, 0.0), (FRAMES // 2, 1.0), (FRAMES, 0.0)):
        settings.latent.mix_geometry = mix
        settings.latent.keyframe_insert("mix_geometry", frame=frame)
    frames = Path(TEMPORARY.name) / "frames"
    settings.path.directory = str(frames)
    press("lathe.render_path")
    encode(path, [over_backdrop(np.asarray(Image.open(file))) for file in sorted(frames.glob("*.png"))])
    scene.animation_data_clear()
    bpy.data.objects.remove(camera)


def circling_camera(item: bpy.types.Object) -> bpy.types.Object:
    """Add the model's own camera and keyframe one orbit around the model at the 3D cursor."""
    bpy.ops.lathe.add_camera()
    scene = bpy.context.scene
    camera = scene.camera
    pivot = np.array(scene.cursor.location)
    start = camera.matrix_world.copy()
    scene.frame_start, scene.frame_end = 1, FRAMES
    for frame in range(1, FRAMES + 1):
        turn = type(start).Rotation(2 * math.pi * (frame - 1) / FRAMES, 4, "Z")
        shift = type(start).Translation(pivot.tolist())
        camera.matrix_world = shift @ turn @ shift.inverted() @ start
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_euler", frame=frame)
    return camera


def over_backdrop(rgba: np.ndarray) -> np.ndarray:
    """Composite an image with alpha over a soft background. uint8 [H, W, 4] -> [H, W, 3]."""
    height, width = rgba.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.45)[..., None]
    backdrop = np.array([226, 231, 238]) - 90 * distance**1.5
    alpha = rgba[..., 3:] / 255
    return (rgba[..., :3] * alpha + backdrop * (1 - alpha)).round().astype(np.uint8)


def encode(path: Path, images: list[np.ndarray]) -> None:
    """Write uint8 [H, W, 3] images as H.264 video."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "18"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    studio.run(main)
