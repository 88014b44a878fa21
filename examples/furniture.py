"""Scenes to fit radiance fields to: furniture of Sweet Home 3D's CC0 library, rendered from all sides.

    python examples/furniture.py BlendSwap-CC-0.sh3f scenes
    python -m backend fit scenes/lantern --out lantern.safetensors

The library is in Debian's package sweethome3d-furniture (/usr/share/sweethome3d/furniture). Each model is brought to
one metre, stands in even light with a sun, and is captured with the add-on's own rig: 100 training, 5 validation and
20 test views at 256 × 256. Images are transparent, or with --behind opaque: before the even sky, before a forest at
infinity (Blender's own studio light, CC0), or on a tiled floor in that forest. On two cores a scene takes about four
minutes; a run that is interrupted goes on where it stopped. Needs the bpy wheel.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import zipfile
from pathlib import Path

TEMPORARY = tempfile.TemporaryDirectory(prefix="latent-lathe-furniture-", ignore_cleanup_errors=True)
os.environ["BLENDER_USER_RESOURCES"] = TEMPORARY.name  # before bpy is imported: without the user's settings
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import bpy  # noqa: E402
import studio  # noqa: E402
from mathutils import Matrix, Vector  # noqa: E402

from addon.field import capture  # noqa: E402

MODELS: dict[str, capture.Rig] = {
    "lantern": "sphere",  # texture everywhere
    "chairWithCushion": "hemisphere",  # texture and slats
    "tableFan": "hemisphere",  # wires thinner than a pixel
    "motorbike": "hemisphere",  # smooth, of many colours
    "cartoon_biplane": "sphere",  # thin parts of a vehicle
}
BEHIND = ("nothing", "sky", "forest", "floor")
SUN = 2.2  # watts per square metre
SKY = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", type=Path, help="the .sh3f file")
    parser.add_argument("output", type=Path, help="folder; each model gets one in it")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--size", type=int, default=256, help="pixels along each side")
    parser.add_argument("--views", type=int, default=100, help="for training")
    parser.add_argument("--samples", type=int, default=32, help="of Cycles for each pixel, before it takes out noise")
    parser.add_argument("--behind", choices=BEHIND, default="nothing", help="what is seen behind the model")
    parser.add_argument("--depth", action="store_true", help="write depth, too")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.library) as library:
        for name in arguments.models:
            load(library, name, Path(TEMPORARY.name))
            light(arguments.samples)
            if arguments.behind in ("forest", "floor"):
                surround()
            if arguments.behind == "floor":
                lay_floor()
            settings = capture.CaptureSettings(
                rig=MODELS.get(name, "sphere"),
                count=arguments.views,
                val=5,
                test=20,
                width=arguments.size,
                height=arguments.size,
                target="selected",
                transparent=arguments.behind == "nothing",
                depth=arguments.depth,
            )
            for step in capture.capture_steps(bpy.context.scene, settings, arguments.output / name):
                print(f"{name}: {step.fraction:4.0%} {step.text}", flush=True)


def load(library: zipfile.ZipFile, name: str, folder: Path) -> None:
    """Make a new file with one model, its largest side one metre, centred at the origin."""
    wanted = [entry for entry in library.namelist() if f"/{name}/" in entry]
    if not wanted:
        raise SystemExit(f"The library has no model {name}")
    library.extractall(folder, wanted)
    bpy.ops.wm.read_homefile(use_empty=True)
    model = next(folder / entry for entry in wanted if entry.endswith(".obj"))
    bpy.ops.wm.obj_import(filepath=str(model), up_axis="Y", forward_axis="NEGATIVE_Z")
    scene = bpy.context.scene
    found = capture.find_target(scene, bpy.context.view_layer, "scene")
    fitted = Matrix.Scale(1 / float((found.high - found.low).max()), 4) @ Matrix.Translation(-Vector(found.middle))
    for item in scene.objects:
        item.matrix_world = fitted @ item.matrix_world
        item.select_set(item.type == "MESH")


def light(samples: int) -> None:
    """Add a uniform sky and a sun, and set Cycles up for a render without noise."""
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("Sky")
    scene.world.use_nodes = True
    sky = next(node for node in scene.world.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
    sky.inputs["Color"].default_value, sky.inputs["Strength"].default_value = (1, 1, 1, 1), SKY
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.data.angle = SUN, math.radians(10)
    sun.rotation_euler = (math.radians(40), math.radians(15), math.radians(30))
    scene.collection.objects.link(sun)
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_adaptive_sampling, scene.cycles.max_bounces = samples, False, 6
    scene.cycles.use_denoising, scene.cycles.denoiser = True, "OPENIMAGEDENOISE"
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"


def surround() -> None:
    """Replace the uniform sky by a forest around the scene."""
    tree = bpy.context.scene.world.node_tree
    forest = tree.nodes.new("ShaderNodeTexEnvironment")
    folder = bpy.utils.system_resource("DATAFILES", path="studiolights/world")
    forest.image = bpy.data.images.load(str(Path(folder) / "forest.exr"))
    sky = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeBackground")
    tree.links.new(forest.outputs["Color"], sky.inputs["Color"])
    sky.inputs["Strength"].default_value = 1.0


def lay_floor() -> None:
    """Add a tiled floor, 8 m wide, below the model."""
    chosen = list(bpy.context.selected_objects)
    lowest = min((item.matrix_world @ vertex.co).z for item in chosen for vertex in item.data.vertices)
    bpy.ops.mesh.primitive_plane_add(size=8, location=(0, 0, lowest))
    material = bpy.data.materials.new("Tiles")
    material.use_nodes = True
    tree = material.node_tree
    tiles = tree.nodes.new("ShaderNodeTexBrick")
    tiles.inputs["Scale"].default_value = 12
    surface = next(node for node in tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    tree.links.new(tiles.outputs["Color"], surface.inputs["Base Color"])
    bpy.context.object.data.materials.append(material)
    for item in bpy.context.scene.objects:
        item.select_set(item in chosen)


if __name__ == "__main__":
    studio.run(main)
