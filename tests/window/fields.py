"""The scenario of a radiance field by buttons: capture, fit, pause, go on, mesh. Runs inside Blender; see driver.py."""

import sys
from pathlib import Path

import bpy
from mathutils import Euler

sys.path.insert(0, str(Path(__file__).parent))

from driver import OUT, Steps, Window, drive


def settled(window: Window, seconds: float = 60) -> Steps:
    yield from window.until(lambda: not window.session.jobs.busy, "nothing is running", seconds)
    yield 0.8


def scenario(window: Window) -> Steps:
    prepare(window)
    yield from window.open_tab()
    yield from window.press("lathe.start_backend")
    yield from window.until_ready()
    yield from settled(window)
    yield from window.scroll(14)  # to the panel Fit, which saves looking for its buttons
    yield from window.screenshot("1_ready")
    yield from capture(window)
    yield from fit(window)
    yield from mesh(window)


def prepare(window: Window) -> None:
    """A coloured ring in a scene whose images and fits are tiny."""
    for item in list(bpy.data.objects):
        bpy.data.objects.remove(item)
    window.preferences.python = str(OUT / "python")
    with bpy.context.temp_override(window=window.window, area=window.area):
        bpy.ops.mesh.primitive_torus_add(major_radius=0.5, minor_radius=0.25)
    ring = bpy.data.objects[0]
    ring.rotation_euler.x = 0.7
    material = bpy.data.materials.new("Glow")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    output, glow, normal = (nodes.new(f"ShaderNode{kind}") for kind in ("OutputMaterial", "Emission", "TexCoord"))
    links.new(normal.outputs["Generated"], glow.inputs["Color"])
    links.new(glow.outputs[0], output.inputs["Surface"])
    ring.data.materials.append(material)
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 2, False
    scene.render.resolution_x = scene.render.resolution_y = 64
    scene.view_settings.view_transform = "Standard"
    settings = scene.lathe.capture
    settings.rig, settings.target, settings.count, settings.test, settings.size = "SPHERE", "SCENE", 20, 2, 64
    settings.fill = 0.9
    field = scene.lathe.field
    field.data_sets, field.name, field.preset, field.steps = str(OUT / "sets"), "ring", "DRAFT", 600
    view = window.area.spaces.active.region_3d
    view.view_distance, view.view_rotation = 3.5, Euler((1.1, 0.0, 0.5)).to_quaternion()


def pictures() -> int:
    return len(list((OUT / "sets" / "ring" / "images").glob("*.png")))


def capture(window: Window) -> Steps:
    """Capture until three images are there, Esc, and once more for the rest."""
    window.recorder.on = False  # an image takes as long as Blender's own render does
    yield from window.press("lathe.capture")
    yield from window.until(lambda: pictures() >= 3, "three pictures", 60)
    yield from window.key("ESC")
    yield from window.until(lambda: not window.session.jobs.busy, "ESC ended the capture", 20)
    window.note("pictures_when_ended", pictures())
    yield 0.8
    yield from window.press("lathe.capture")
    yield from settled(window, 120)
    window.note("pictures", pictures())
    window.recorder.on = True
    yield from window.screenshot("2_captured")


def fields() -> list[str]:
    return [item.name for item in bpy.data.objects if item.lathe.is_field]


def fit(window: Window) -> Steps:
    """Fit, pause when an image is there, and go on to the end."""
    yield from window.press("lathe.fit")
    yield from window.until(lambda: window.session.jobs.find("fit"), "the fit is listed", 10)
    job = window.session.jobs.find("fit")
    yield from window.until(lambda: job.ended or "Lathe Fit" in bpy.data.images, "a picture of the field", 300)
    yield from window.screenshot("3_fitting")
    window.note("figures", dict(job.figures))
    yield from window.press("lathe.pause_fit")
    yield from window.until(lambda: job.ended, "the fit is paused", 60)
    window.note("paused", {"state": job.state, "fits": [fit.name for fit in window.session.fits]})
    yield from settled(window)
    yield from window.screenshot("4_paused")
    yield from window.press("lathe.continue_fit")
    yield from window.until(lambda: window.session.jobs.find("fit"), "the fit goes on", 10)
    job = window.session.jobs.find("fit")
    yield from window.until(lambda: job.ended, "the fit came to its end", 240)
    yield from settled(window)
    window.note("fit", {"state": job.state, "fields": fields(), "steps": window.session.fits[0].steps})


def mesh(window: Window) -> Steps:
    """Mesh the field, which is selected; the ring and its mesh side by side for the image."""
    field = bpy.data.objects[fields()[0]]
    field.lathe.mesh.resolution = 64
    yield from window.press("lathe.generate_mesh")
    yield from window.until(lambda: window.session.jobs.find("mesh") is None and field.lathe.partner, "a mesh", 120)
    yield from settled(window)
    made = field.lathe.partner
    ring = next(item for item in bpy.data.objects if item.type == "MESH" and item != made)
    sizes = [list(item.dimensions) for item in (ring, made)]
    window.note("mesh", {"faces": len(made.data.polygons), "sizes": sizes, "colors": len(made.data.color_attributes)})
    ring.location.x -= 1.2
    yield from window.screenshot("5_mesh_beside_the_ring")


drive(scenario)
