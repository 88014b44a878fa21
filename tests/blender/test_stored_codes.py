"""Stored codes of latents in Blender: for A and B, single rows and directions; and files of before they were there."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np

from tests.addon.fake_backend import FACE
from tests.blender import test_main_job as main

bpy: Any = None
lathe: Any = None

OLD = Path(__file__).resolve().parent / "data" / "shapes_of_protocol_1.blend"
"""Saved by the add-on of protocol 1: a completed scan "Sphere completed", settings of the scene, and a history."""


def started() -> Any:
    """Start the backend, which knows no face, and add that model to the list."""
    main.bpy, main.lathe = bpy, lathe
    scene = main.started()
    lathe.link.session.session.models["face"] = FACE
    return scene


def put(group: Any, code: str, array: np.ndarray) -> str:
    """Write a code into the properties of a group as the add-on stores it; return its sha256."""
    import hashlib

    packed = lathe.wire.payload.pack(lathe.wire.messages.CodeBlob(array.astype(np.float32)))
    sha256 = hashlib.sha256(packed).hexdigest()
    setattr(group, code, sha256)
    setattr(group, f"{code}_data", base64.b64encode(packed).decode())
    return sha256


def edited(latent: Any) -> dict[str, str]:
    """Give a latent one stored code of each sort; return their sha256."""
    codes = {"code": put(latent, "code", np.ones((1, 8))), "code_b": put(latent, "code_b", np.zeros((1, 8)))}
    row = latent.rows.add()
    row.row = 3
    codes["row"] = put(row, "code", np.full((1, 8), 2.0))
    step = latent.directions.add()
    step.name, step.strength = "Smile", -0.5
    codes["direction"] = put(step, "code", np.full((1, 8), 3.0))
    return codes


def test_the_wire_gets_every_stored_code_and_the_file_keeps_them(tmp_path: str) -> None:
    scene, wire = started(), lathe.wire.messages
    lathe.models.actions.choose_model(bpy.context, "face")
    codes = edited(scene.latent)
    scene.latent.directions[0].layers[1] = True
    bpy.ops.wm.save_as_mainfile(filepath=f"{tmp_path}/scene.blend")
    bpy.ops.wm.open_mainfile(filepath=f"{tmp_path}/scene.blend")
    scene = bpy.context.scene.lathe
    chosen = lathe.scene.gather.subject(bpy.context)
    latent = lathe.scene.gather.latent(scene, chosen.info)
    assert (latent.code, latent.code_b) == (codes["code"], codes["code_b"])
    assert latent.rows == (wire.StoredRow(3, codes["row"]),)
    assert latent.directions == (wire.Direction(codes["direction"], -0.5, (1,)),)
    stored = lathe.shape.codes.stored_codes(chosen)
    assert set(stored) == set(codes.values()) == set(latent.codes())
    unpacked = lathe.wire.payload.unpack(base64.b64decode(stored[codes["direction"]]))
    np.testing.assert_array_equal(unpacked.ws, np.full((1, 8), 3.0))


def test_codes_are_sent_before_they_are_used() -> None:
    scene = started()
    scene.mesh.resolution = 8
    codes = edited(scene.latent)
    client, sent = lathe.link.client.Client, []
    upload = client.upload
    client.upload = lambda self, blob: sent.append(upload(self, blob)) or sent[-1]
    try:
        assert main.press("lathe.generate_mesh").state == "done"
    finally:
        client.upload = upload
    assert set(sent) == set(codes.values())


def test_swapping_exchanges_stored_codes_too() -> None:
    scene = started()
    codes = edited(scene.latent)
    data = scene.latent.code_data
    main.press("lathe.swap_seeds")
    assert (scene.latent.code, scene.latent.code_b) == (codes["code_b"], codes["code"])
    assert scene.latent.code_b_data == data


def test_seeds_count_again_after_a_roll_and_after_another_model() -> None:
    scene = started()
    for clear in (lambda: main.press("lathe.randomize_seeds"), lambda: main.press("lathe.choose_model", model="face")):
        edited(scene.latent)
        clear()
        latent = scene.latent
        assert not (latent.code or latent.code_data or latent.code_b or latent.code_b_data)
        assert not latent.rows and not latent.directions


def test_a_direction_is_keyframed_by_its_strength() -> None:
    scene = started()
    edited(scene.latent)
    for frame, strength in ((1, 0.0), (11, 1.0)):
        scene.latent.directions[0].strength = strength
        bpy.context.scene.keyframe_insert("lathe.latent.directions[0].strength", frame=frame)
    bpy.context.scene.frame_set(6)
    assert abs(scene.latent.directions[0].strength - 0.5) < 1e-6


def test_an_object_and_the_history_keep_the_codes_they_were_made_from() -> None:
    scene = started()
    scene.mesh.resolution = 8
    codes = edited(scene.latent)
    item = bpy.data.objects[main.press("lathe.generate_mesh").result].lathe.latent
    for latent in (item, scene.history[0].latent):
        assert (latent.code, latent.code_b) == (codes["code"], codes["code_b"])
        assert [row.code for row in latent.rows] == [codes["row"]]
        assert [(step.name, step.strength, step.code) for step in latent.directions] == [
            ("Smile", -0.5, codes["direction"])
        ]


def test_a_completed_scan_is_its_code_alone() -> None:
    scene = started()
    scene.mesh.resolution = 8
    edited(scene.latent)
    scene.latent.style_layers[0] = True
    bpy.ops.mesh.primitive_uv_sphere_add(segments=8, ring_count=4, radius=0.4)
    item = bpy.data.objects[main.press("lathe.complete").result]
    latent = item.lathe.latent
    assert latent.code and not any(latent.style_layers) and latent.mix_geometry == latent.mix_appearance == 0
    assert not latent.rows and not latent.directions


def test_a_file_of_protocol_1_means_what_it_meant() -> None:
    bpy.ops.wm.open_mainfile(filepath=str(OLD))
    scene = bpy.context.scene.lathe
    started()
    sphere, face = (lathe.link.session.session.models[name] for name in ("sphere", "face"))
    code = bpy.data.objects["Sphere completed"].lathe.latent.code
    assert len(code) == 64
    completed = lathe.scene.gather.latent(bpy.data.objects["Sphere completed"].lathe, sphere)
    assert (completed.seed_b, completed.mix_geometry, completed.codes()) == (9, 0.25, (code,))
    assert (completed.code, completed.code_b, completed.rows, completed.directions) == (code, "", (), ())
    found = lathe.scene.gather.latent(scene, face)
    assert (found.seed_a, found.seed_b, round(found.mix_geometry, 6)) == (3, 8, 0.5)
    assert math.isclose(found.mix_appearance, 0.75) and math.isclose(found.truncation_psi, 0.9, rel_tol=1e-6)
    assert found.style_mix == (2,) and found.condition is not None and found.codes() == ()
    assert [(item.model, item.starred, bool(item.latent.code)) for item in scene.history] == [
        ("sphere", False, False),
        ("sphere", True, True),
        ("sphere", False, True),
    ]
    assert scene.history[1].latent.code == code


def test_a_file_of_protocol_1_keeps_its_settings() -> None:
    bpy.ops.wm.open_mainfile(filepath=str(OLD))
    scene, wire = bpy.context.scene.lathe, lathe.wire.messages
    assert lathe.field.actions.fit_options(bpy.context) == wire.FitOptions(
        method="nerf", background="random", distortion_weight=0.0078125, near=0.25, use_masks=False, steps=700
    )
    mesh = scene.mesh
    assert (mesh.resolution, mesh.color, mesh.use_level, mesh.level) == (64, "NONE", True, 0.5)
    assert (mesh.smoothing, mesh.minimum_component, mesh.texture_size) == (3, 0.25, 1024)
    assert (scene.field.max_images, scene.fit.preset, scene.path.quality) == (123, "OFFICIAL", "DRAFT")
    assert (scene.complete.iterations, scene.fit.steps, scene.latent.use_condition) == (77, 2000, True)


def test_the_code_of_a_file_of_protocol_1_is_sent_and_meshed() -> None:
    bpy.ops.wm.open_mainfile(filepath=str(OLD))
    started()
    item = bpy.data.objects["Sphere completed"]
    bpy.context.view_layer.objects.active = item
    item.select_set(True)
    bpy.context.scene.lathe.target = "OBJECT"
    item.lathe.mesh.resolution = 8
    assert main.press("lathe.generate_mesh").state == "done"
    main.press("lathe.swap_seeds")
    assert item.lathe.latent.code_b and not item.lathe.latent.code
    assert main.press("lathe.generate_mesh").state == "done"
