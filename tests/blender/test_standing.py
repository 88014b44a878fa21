"""Results stand in the scene: on the ground, beside what is there, seen, coloured, and gone without a trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.blender.helpers import press

bpy: Any = None
lathe: Any = None

CHAIR = np.array(((-0.3, -0.25, -0.5), (0.3, 0.25, 0.5)))


def box(item: Any) -> np.ndarray:
    """Return the box of an object in the world, [2, 3]."""
    bpy.context.view_layer.update()
    points = np.array([item.matrix_world @ vertex.co for vertex in item.data.vertices])
    return np.stack((points.min(0), points.max(0)))


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a[0] < b[1] - 1e-6).all() and (b[0] < a[1] - 1e-6).all())


def generate(seed: int = 0) -> Any:
    bpy.context.view_layer.update()
    bpy.context.scene.lathe.latent.seed_a = seed
    return bpy.data.objects[press("lathe.generate_mesh").result]


def started() -> Any:
    press("lathe.start_backend")
    bpy.context.scene.lathe.mesh.resolution = 12
    return bpy.context.scene.lathe


def test_shapes_stand_on_the_ground_beside_the_cube_and_each_other() -> None:
    started()
    bpy.ops.mesh.primitive_cube_add()
    things = [bpy.context.object, *(generate(seed) for seed in range(4))]
    assert all(box(item)[0, 2] == pytest.approx(0, abs=1e-6) for item in things[1:])
    boxes = [box(item) for item in things]
    assert not [(a, b) for a in range(5) for b in range(a) if overlap(boxes[a], boxes[b])]
    assert all(np.abs(found[:, :2]).max() < 3.5 for found in boxes), "near the cursor"


@pytest.mark.parametrize("where", ["floor", "hidden", "room", "above"])
def test_what_is_not_in_the_way_does_not_move_a_shape(where: str) -> None:
    started()
    size, height = {"floor": (6, 0), "hidden": (2, 0), "room": (30, 10), "above": (2, 4)}[where]
    bpy.ops.mesh.primitive_cube_add(size=size, location=(0, 0, height))
    if where == "floor":
        bpy.context.object.scale.z = 0.0
    bpy.context.object.hide_set(where == "hidden")
    assert np.allclose(generate().location[:2], 0)


def test_an_instance_of_a_collection_is_in_the_way() -> None:
    started()
    bpy.ops.mesh.primitive_cube_add(location=(40, 0, 0))
    cube = bpy.context.object
    place = bpy.data.collections.new("Set")
    place.objects.link(cube)
    place.instance_offset = (40, 0, 0)
    bpy.ops.object.collection_instance_add(collection="Set", location=(0, 0, 0))
    assert not overlap(box(generate()), np.array(((-1, -1, -1), (1, 1, 1))))


def test_the_nearest_free_place_is_taken() -> None:
    standing = lathe.scene.standing.standing
    cube = np.array(((-1.0, -1, -1), (1, 1, 1)))
    alone = standing(CHAIR, 0.0, np.zeros((0, 2, 3)))
    assert alone.tolist() == [0, 0, 0.5]
    assert standing(CHAIR, 0.0, cube[None]) == pytest.approx((0, 1 + 0.25 + 0.06, 0.5)), "behind: it is less deep"
    viewer = np.array((0.6, -0.6, 0.5))  # as Blender's first view
    assert standing(CHAIR, 0.0, cube[None], viewer)[1] == pytest.approx(-1.31), "in front of it"
    right = standing(CHAIR, 0.0, np.stack([cube + move for move in ((0, -2, 0), (0, 0, 0), (0, 2, 0))]))
    assert right == pytest.approx((1 + 0.3 + 0.06, 0, 0.5)), "to the right, of equals"
    left = standing(CHAIR, 0.0, np.stack([cube + move for move in ((0, -2, 0), (0, 0, 0), (0, 2, 0), (2, 0, 0))]))
    assert left == pytest.approx((-1 - 0.3 - 0.06, 0, 0.5))
    rng = np.random.default_rng(0)
    crowd = rng.uniform(-2, 2, (300, 1, 3)) * (1, 1, 0) + np.array(((-0.1, -0.1, 0), (0.1, 0.1, 1)))
    moved = CHAIR + standing(CHAIR, 0.0, crowd)
    assert not any(overlap(moved, other) for other in crowd)


def test_a_replaced_mesh_keeps_its_foot_on_the_ground_and_the_object_its_place() -> None:
    scene = started()
    item = generate()
    item.location.x, item.scale = 3.0, (2, 2, 2)
    item.location.z = 1.0
    bpy.context.view_layer.update()
    before = box(item)
    for vertex in item.data.vertices:
        vertex.co.z *= 0.5  # as a lower shape would be
    item.location.z = 0.5
    scene.mesh.placement = "LAST"
    assert generate(5) == item
    assert box(item) == pytest.approx(before, abs=1e-6)


def test_the_mesh_of_a_field_stays_where_its_images_were_taken() -> None:
    from tests.addon.fake_backend import FIELD

    started()
    lathe.link.session.session.models["field"] = FIELD
    bpy.ops.mesh.primitive_cube_add()
    lathe.scene.settings.set_model(bpy.context.scene.lathe, FIELD)
    bpy.context.view_layer.objects.active = None
    item = generate()
    assert item.matrix_world.is_identity and not item.lathe.stands


def test_the_viewport_colour_is_that_of_the_mesh_and_each_shape_has_its_own_material() -> None:
    scene = started()
    first, second = generate(1), generate(2)
    assert first.data.materials[0] != second.data.materials[0]
    red, green, blue, _ = first.data.materials[0].diffuse_color
    assert (red, green, blue) == pytest.approx((1, 0.2159, 0), abs=2e-3)
    scene.mesh.placement = "LAST"
    own = second.data.materials[0]
    generate(3)
    assert second.data.materials[0] == own, "edits of the material outlast another mesh"


def test_a_box_fills_the_view_it_is_framed_in() -> None:
    framing, focal, aspect = lathe.scene.standing.framing_distance, 2.0, 1.5
    near, far = 0.1, 100.0
    perspective = np.zeros((4, 4))
    perspective[0, 0], perspective[1, 1], perspective[3, 2] = focal, focal * aspect, -1
    perspective[2, 2], perspective[2, 3] = (far + near) / (near - far), 2 * far * near / (near - far)
    distance = framing(CHAIR, perspective, 7.0)
    view = np.eye(4)
    view[2, 3] = -distance
    upright = CHAIR[:, [0, 2, 1]]  # seen from the front
    ndc = lathe.scene.standing._in_view(upright, perspective @ view)
    assert 0.4 < np.ptp(ndc[:, 1]) / 2 < 0.7 and np.abs(ndc).max() < 1
    flat = np.diag([0.1, 0.15, -0.01, 1.0])
    again = np.diag([0.1, 0.15, -0.01, 1.0]) * np.array((7.0 / framing(CHAIR, flat, 7.0),) * 2 + (1, 1))[:, None]
    assert 0.2 < np.ptp(lathe.scene.standing._in_view(upright, again)[:, 1]) / 2 < 0.7


@pytest.mark.parametrize("color", ["VERTEX", "TEXTURE"])
def test_a_deleted_shape_leaves_no_data_behind_and_undo_brings_it_back(color: str) -> None:
    scene = started()
    scene.mesh.color = color
    kept = generate(1)
    item = generate(2)
    name = item.name
    bpy.ops.ed.undo_push(message="before")
    bpy.data.objects.remove(item) if color == "TEXTURE" else bpy.ops.object.delete()
    bpy.ops.ed.undo_push(message="deleted")
    lathe.scene.leftovers.look()
    assert bpy.context.scene.lathe.last_object is None
    assert [list(blocks) for blocks in (bpy.data.objects, bpy.data.meshes, bpy.data.materials)] == [
        [kept], [kept.data], [kept.data.materials[0]]
    ]  # fmt: skip
    assert len(bpy.data.images) == (color == "TEXTURE")
    bpy.ops.ed.undo()
    item = bpy.data.objects[name]
    assert len(item.data.polygons) and item.data.materials[0].node_tree.nodes
    assert generate(3).name == "Sphere 3"


def test_what_the_user_made_is_never_removed() -> None:
    started()
    item = generate()
    mesh, material = item.data, item.data.materials[0]
    bpy.data.meshes.new("Mine"), bpy.data.materials.new("Mine too")
    mesh.use_fake_user = True
    bpy.data.objects.remove(item)
    lathe.scene.leftovers.look()
    assert {"Mine", mesh.name} == set(bpy.data.meshes.keys())
    assert {"Mine too", material.name} == set(bpy.data.materials.keys())


def test_deleting_everything_leads_back_to_a_new_shape() -> None:
    scene = started()
    generate()
    scene.target = "OBJECT"
    bpy.ops.object.delete()
    lathe.scene.leftovers.look()
    assert generate(1).name == "Sphere 1"
