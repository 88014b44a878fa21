"""One image of a radiance field: training views, a test view, and its mesh.

    python -m backend fit scenes/motorbike --out motorbike.safetensors --seconds 600
    python -m backend eval motorbike.safetensors scenes/motorbike --split test --out pairs
    python -m backend mesh motorbike.safetensors --resolution 256 --target-faces 60000 --color texture \\
        --texture-size 2048 --out motorbike.glb
    python examples/field_strip.py scenes/motorbike pairs/test_r_002.png motorbike.glb strip.png

The data set is one of `furniture.py`. Above: six of its training views. Below: the truth, the field, and a photograph
of the mesh. Needs the bpy wheel.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TEMPORARY = tempfile.TemporaryDirectory(prefix="latent-lathe-strip-", ignore_cleanup_errors=True)
os.environ["BLENDER_USER_RESOURCES"] = TEMPORARY.name  # before bpy is imported: without the user's settings

import bpy  # noqa: E402
import studio  # noqa: E402
from mathutils import Vector  # noqa: E402

WIDTH, VIEWS, PICTURES = 1200, 6, 3
TOP, BOTTOM, CAPTION = WIDTH // VIEWS, WIDTH // PICTURES, 28
INK = (60, 64, 72)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder with the training images in train/")
    parser.add_argument("pair", type=Path, help="truth and field side by side, as eval --out writes them")
    parser.add_argument("mesh", type=Path, help="the .glb file")
    parser.add_argument("output", type=Path, help="the .png file to write")
    arguments = parser.parse_args()
    files = sorted((arguments.dataset / "train").glob("*.png"))
    if not files:
        parser.error(f"{arguments.dataset / 'train'} has no .png; name the folder that examples/furniture.py wrote")
    views = Image.new("RGB", (WIDTH, TOP), "white")
    for number in range(VIEWS):
        view = Image.open(files[len(files) * number // VIEWS]).convert("RGBA").resize((TOP, TOP))
        views.paste(view, (TOP * number, 0), view)
    photograph = Path(TEMPORARY.name) / "mesh.png"
    photograph_mesh(arguments.mesh, photograph)
    strip = Image.new("RGB", (WIDTH, TOP + BOTTOM + 2 * CAPTION), "white")
    strip.paste(views, (0, CAPTION))
    strip.paste(Image.open(arguments.pair).resize((2 * BOTTOM, BOTTOM)), (0, TOP + 2 * CAPTION))
    strip.paste(Image.open(photograph), (2 * BOTTOM, TOP + 2 * CAPTION))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(16)
    second = "a view that was held back: truth", "the field", "its mesh, with a baked texture"
    pen.text((8, 4), f"{VIEWS} of the {len(files)} views it was fitted to", fill=INK, font=font)
    for number, text in enumerate(second):
        pen.text((8 + BOTTOM * number, TOP + CAPTION + 4), text, fill=INK, font=font)
    strip.save(arguments.output, optimize=True)


def photograph_mesh(mesh: Path, path: Path) -> None:
    """Render a mesh of about a metre on the studio's platter."""
    studio.clear()
    studio.build()
    studio.use_cycles(samples=24)
    scene = bpy.context.scene
    bpy.ops.import_scene.gltf(filepath=str(mesh))
    item = bpy.context.selected_objects[0]
    low = min((item.matrix_world @ Vector(corner)).z for corner in item.bound_box)
    item.location.z += studio.PLATTER_HEIGHT - low
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(camera)
    middle = Vector((0.0, 0.0, studio.PLATTER_HEIGHT + item.dimensions.z / 2))
    camera.location = middle + Vector((0.95, -1.3, 0.65))
    camera.rotation_euler = (middle - camera.location).to_track_quat("-Z", "Y").to_euler()
    scene.camera = camera
    studio.render(path, BOTTOM, BOTTOM)


if __name__ == "__main__":
    studio.run(main)
