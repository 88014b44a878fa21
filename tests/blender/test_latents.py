"""The panels of a generator in background Blender: sliders, style mixing, conditioning pose, variants, history, walk.

The fake backend renders a colour that stands for what was asked: the same request the same colour, any other another.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.addon.fake_backend import CAR, FACE, color_of
from tests.blender.helpers import press, refusal, settle

bpy: Any = None
lathe: Any = None


def started(info: Any = FACE) -> Any:
    """Start the backend and choose a model that it did not tell of."""
    press("lathe.start_backend")
    lathe.link.session.session.models[info.name] = info
    press("lathe.choose_model", model=info.name)
    scene = bpy.context.scene.lathe
    scene.preview.source, scene.preview.size = "SLIDERS", 32
    return scene


def color() -> tuple[int, ...]:
    """Render the preview and return its colour."""
    job = press("lathe.preview")
    assert job.error is None, job.error
    image = bpy.data.images["Lathe Preview"]
    flat = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(flat)
    picture = lathe.scene.frames.image_from_pixels(flat, *image.size)
    return tuple(np.round(picture[5, 5, :3] * 255).astype(int).tolist())


def latent() -> Any:
    """The latent that the tab's subject sends."""
    chosen = lathe.scene.gather.subject(bpy.context)
    return lathe.scene.gather.latent(chosen.settings, chosen.info)


def shape() -> str:
    """Make a mesh and return the name of its object, whose sliders the tab shows then."""
    bpy.context.scene.lathe.mesh.resolution = 8
    name = press("lathe.generate_mesh").result
    bpy.context.scene.lathe.target = "OBJECT"
    return name


# -------------------------------------------------------------------------------------------------------------- sliders


def test_every_slider_of_the_model_and_of_the_view_changes_the_image() -> None:
    scene = started()
    scene.latent.mix_geometry = 0.5
    seen = [color()]
    assert color() == seen[0], "the same sliders, the same picture"
    view, sliders = scene.view, scene.latent.controls
    for owner, name, value in (
        (scene.latent, "seed_a", 4), (scene.latent, "seed_b", 9), (scene.latent, "mix_geometry", 0.7),
        (scene.latent, "mix_appearance", 0.2), (scene.latent, "truncation", 0.4), (view, "yaw", 0.3),
        (view, "pitch", 0.1), (view, "roll", 0.2), (view, "fov", 0.2), (sliders["lock_view"], "on", True),
        (sliders["background"], "number", 7),
    ):  # fmt: skip
        setattr(owner, name, value)
        seen.append(color())
        assert seen.count(seen[-1]) == 1, name


def test_the_ranges_and_first_values_are_those_that_users_know() -> None:
    scene = started()
    properties = scene.latent.bl_rna.properties
    assert [properties[name].soft_min for name in ("truncation", "mix_geometry", "mix_appearance")] == [0, 0, 0]
    assert [properties[name].soft_max for name in ("truncation", "mix_geometry", "mix_appearance")] == [1, 1, 1]
    assert scene.latent.truncation == pytest.approx(0.7)
    assert (scene.view.yaw, scene.view.pitch, scene.view.roll) == (0, 0, 0)
    assert scene.view.fov == pytest.approx(FACE.pose_prior.fov), "the field of view is the model's"


def test_a_model_that_was_trained_from_the_front_is_looked_at_through_the_sliders() -> None:
    scene = started()
    scene.preview.source = "VIEWPORT"
    press("lathe.choose_model", model="sphere")
    assert scene.preview.source == "VIEWPORT", "it was trained from all round"
    press("lathe.choose_model", model="face")
    assert scene.preview.source == "SLIDERS"


def test_switches_and_counts_are_sent_as_numbers_within_the_model_range() -> None:
    scene = started()
    sliders = scene.latent.controls
    assert [(item.name, item.on, item.number) for item in sliders] == [
        ("lock_view", False, 0),
        ("background", False, 2),
    ]
    sliders["lock_view"].on, sliders["background"].number = True, 40
    assert sliders["background"].number == 9, "clamped to the model's range"
    assert lathe.scene.gather.controls(scene, FACE) == {"lock_view": 1.0, "background": 9.0}
    press("lathe.choose_model", model="sphere")
    press("lathe.choose_model", model="face")
    assert not scene.latent.controls["lock_view"].on and scene.latent.controls["background"].number == 2


def test_the_sliders_view_follows_the_model_wherever_the_object_stands() -> None:
    started()
    item = bpy.data.objects[shape()]
    before = color()
    item.location, item.scale, item.rotation_euler = (3, 2, 1), (2, 1, 3), (1, 2, 3)
    bpy.context.view_layer.update()
    assert color() == before


def test_a_camera_is_added_where_the_sliders_look_from() -> None:
    scene = started()
    scene.view.yaw, scene.view.pitch, scene.view.roll, scene.view.fov = 0.5, 0.2, 0.3, 0.4
    bpy.context.scene.render.resolution_x = bpy.context.scene.render.resolution_y = 32
    press("lathe.add_camera")
    chosen = lathe.scene.gather.subject(bpy.context)
    seen = lathe.scene.gather.scene_camera(bpy.context.scene, bpy.context.evaluated_depsgraph_get(), 32, 32)
    wanted = lathe.scene.gather.orbit(chosen.info, scene.view, 32, 32)
    assert np.allclose(seen.world_from_camera, wanted.world_from_camera, atol=1e-5)
    assert np.allclose(seen.intrinsics, wanted.intrinsics, atol=1e-3)


def test_resetting_the_view_gives_the_model_own() -> None:
    scene = started()
    before = color()
    scene.view.yaw = scene.view.pitch = scene.view.roll = scene.view.fov = 0.4
    assert color() != before
    press("lathe.reset_view")
    assert color() == before


def test_the_two_seeds_of_a_model_of_two_codes_pick_one_code_each() -> None:
    scene = started(CAR)
    assert (scene.latent.mix_geometry, scene.latent.mix_appearance) == (0, 1)
    scene.latent.seed_a, scene.latent.seed_b = 3, 8
    assert (latent().seed_a, latent().seed_b, latent().mix_geometry, latent().mix_appearance) == (3, 8, 0, 1)


# --------------------------------------------------------------------------------------------------------- style mixing


def test_style_mixing_sends_the_layers_that_are_switched_on() -> None:
    scene = started()
    before = color()
    scene.latent.style_layers[1] = scene.latent.style_layers[4] = True
    assert latent().style_mix == (1, 4)
    mixed = color()
    assert mixed != before
    scene.latent.style_layers[31] = True
    assert color() == mixed, "the model has no such layer"
    press("lathe.clear_layers")
    assert latent().style_mix == () and color() == before
    assert "No layer is taken from seed B" in refusal("lathe.clear_layers")


def test_layers_can_be_keyframed() -> None:
    scene = started()
    for frame, on in ((1, False), (2, True)):
        scene.latent.style_layers[2] = on
        bpy.context.scene.keyframe_insert("lathe.latent.style_layers", index=2, frame=frame)
    sent = []
    for frame in (1, 2, 1):
        bpy.context.scene.frame_set(frame)
        sent.append(latent().style_mix)
    assert sent == [(), (2,), ()]


# ---------------------------------------------------------------------------------------------------- conditioning pose


def test_the_conditioning_pose_is_apart_from_the_view() -> None:
    scene = started()
    assert latent().condition is None
    front = color()
    scene.latent.condition_yaw = 0.4
    assert latent().condition is None and color() == front, "it is off"
    scene.latent.use_condition = True
    chosen = lathe.scene.gather.subject(bpy.context)
    ref, camera = lathe.scene.gather.seen_by_preview(bpy.context, chosen, 32)
    assert ref.latent.condition == pytest.approx((0.4, FACE.pose_prior.default_elevation))
    assert camera == lathe.scene.gather.orbit(FACE, scene.view, 32, 32)
    assert color() != front
    scene.view.yaw = 0.2
    assert latent().condition == ref.latent.condition
    lathe.link.session.session.models["face"] = replace(FACE, pose_conditioned=False)
    assert latent().condition is None


# ------------------------------------------------------------------------------------------------------------- variants


def sheet() -> list[tuple[int, int]]:
    return [(item.latent.seed_a, item.latent.seed_b) for item in bpy.context.scene.lathe.variants]


def test_one_of_a_sheet_of_variants_is_chosen_with_a_click() -> None:
    scene = started()
    scene.latent.seed_a, scene.variant_count = 40, 6
    assert press("lathe.variants").result == "Lathe Variants"
    assert sheet() == [(40 + index, 5) for index in range(6)]
    press("lathe.use_latent", where="variants", index=3)
    assert scene.latent.seed_a == 43
    thumbnails = [lathe.scene.thumbnails.unpack(item.thumbnail) for item in scene.variants]
    assert {image.shape for image in thumbnails} == {(64, 64, 4)}
    assert len({image[9, 9].tobytes() for image in thumbnails}) == 6, "each has a picture of its own"


def test_what_a_variant_shows_is_what_choosing_it_gives() -> None:
    scene = started()
    scene.latent.mix_geometry, scene.latent.style_layers[3], scene.latent.controls["lock_view"].on = 0.4, True, True
    scene.view.yaw = 0.3
    press("lathe.variants", count=3)
    scene.latent.mix_geometry, scene.latent.controls["lock_view"].on = 0.0, False
    press("lathe.use_latent", where="variants", index=2)
    camera = lathe.scene.gather.orbit(FACE, scene.view, 128, 128)
    shown = lathe.scene.thumbnails.unpack(scene.variants[2].thumbnail)[9, 9, :3]
    assert shown.tolist() == color_of(latent(), lathe.scene.gather.controls(scene, FACE), camera).tolist()


def test_more_variants_go_on_where_the_sheet_ends() -> None:
    scene = started()
    scene.variant_count = 4
    press("lathe.variants")
    press("lathe.use_latent", where="variants", index=1)
    press("lathe.variants", more=True)
    assert [seed for seed, _ in sheet()] == [4, 5, 6, 7]


def test_variants_of_the_second_seed_keep_the_first() -> None:
    scene = started()
    scene.vary, scene.variant_count = "B", 3
    press("lathe.variants")
    assert sheet() == [(0, 5), (1, 5), (2, 5)], "seed B has no part in the shape, so seed A varies"
    scene.latent.seed_a, scene.latent.mix_appearance = 7, 1.0
    press("lathe.variants")
    assert sheet() == [(7, 5), (7, 6), (7, 7)]


def test_variants_survive_saving_with_their_images(tmp_path: str) -> None:
    started()
    press("lathe.variants", count=2)
    before = [item.thumbnail for item in bpy.context.scene.lathe.variants]
    bpy.ops.wm.save_as_mainfile(filepath=f"{tmp_path}/scene.blend")
    bpy.ops.wm.open_mainfile(filepath=f"{tmp_path}/scene.blend")
    assert [item.thumbnail for item in bpy.context.scene.lathe.variants] == before and all(before)


def test_a_list_that_changed_meanwhile_says_so() -> None:
    started()
    assert "no longer in the list" in refusal("lathe.use_latent", where="variants", index=5)
    assert "no longer in the list" in refusal("lathe.star_latent", where="history", index=0)


# ------------------------------------------------------------------------------------------------- history, favourites


def history() -> list[int]:
    return [item.latent.seed_a for item in bpy.context.scene.lathe.history]


def test_the_history_goes_back_to_an_earlier_latent_whole() -> None:
    scene = started()
    scene.latent.seed_a, scene.latent.mix_geometry, scene.latent.controls["background"].number = 11, 0.3, 5
    first = color()
    scene.latent.seed_a, scene.latent.mix_geometry, scene.latent.controls["background"].number = 12, 0.0, 1
    color()
    scene.latent.seed_a = 13
    color()
    assert history() == [13, 12, 11]
    press("lathe.use_latent", where="history", index=2)
    assert scene.latent.seed_a == 11 and scene.latent.controls["background"].number == 5
    assert color() == first
    assert history() == [11, 13, 12], "seen again, it is the newest, and once"
    assert lathe.shape.latents.title(scene.history[0], FACE) == "11 → 5 (30%, 0%)"


def test_drafts_are_no_history_and_meshes_are() -> None:
    scene = started()
    lathe.preview.actions.preview(bpy.context, draft=True)
    settle()
    assert history() == []
    scene.latent.seed_a = 3
    shape()
    assert history() == [3]


def test_the_history_brings_its_model_along() -> None:
    scene = started()
    scene.latent.seed_a = 21
    color()
    press("lathe.choose_model", model="sphere")
    press("lathe.use_latent", where="history", index=0)
    assert scene.model == "face" and scene.latent.seed_a == 21 and "lock_view" in scene.latent.controls
    del lathe.link.session.session.models["face"]
    scene.model = "sphere"
    assert "no model named 'face'" in refusal("lathe.use_latent", where="history", index=0)


def test_the_history_changes_the_object_whose_sliders_the_tab_shows() -> None:
    scene = started()
    scene.latent.seed_a = 31
    color()
    scene.latent.seed_a = 32
    item = bpy.data.objects[shape()]
    press("lathe.use_latent", where="history", index=1)
    assert item.lathe.latent.seed_a == 31 and scene.latent.seed_a == 32


def test_favourites_are_kept_however_long_the_history_gets(tmp_path: str) -> None:
    scene = started()
    scene.latent.seed_a = 500
    color()
    press("lathe.star_latent", where="history", index=0)
    values = lathe.scene.groups.plain(scene.latent)
    for seed in range(150):
        lathe.shape.latents.put_first(scene.history, "face", {**values, "seed_a": seed})
    assert len(scene.history) == lathe.shape.latents.MAX_HISTORY + 1
    assert history()[:2] == [149, 148] and history()[-1] == 500 and scene.history[-1].starred
    press("lathe.clear_history")
    assert history() == [500] and scene.history[0].thumbnail
    assert "nothing to remove" in refusal("lathe.clear_history")
    bpy.ops.wm.save_as_mainfile(filepath=f"{tmp_path}/scene.blend")
    bpy.ops.wm.open_mainfile(filepath=f"{tmp_path}/scene.blend")
    assert history() == [500] and bpy.context.scene.lathe.history[0].starred
    press("lathe.star_latent", where="history", index=0)
    assert not bpy.context.scene.lathe.history[0].starred


def test_starring_a_variant_puts_it_into_the_history() -> None:
    scene = started()
    press("lathe.variants", count=3)
    press("lathe.star_latent", where="variants", index=2)
    assert history() == [2] and scene.history[0].starred
    assert scene.history[0].thumbnail == scene.variants[2].thumbnail


def test_going_back_is_one_step_of_undo() -> None:
    scene = started()
    for seed in (1, 2):
        scene.latent.seed_a = seed
        color()
    bpy.ops.ed.undo_push(message="before")
    press("lathe.use_latent", where="history", index=1)
    assert bpy.context.scene.lathe.latent.seed_a == 1
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert bpy.context.scene.lathe.latent.seed_a == 2 and history() == [2, 1]


# ----------------------------------------------------------------------------------------------------------------- walk


def parts(scene: Any, seeds: list[int]) -> np.ndarray:
    """How much of each seed the shape has at this frame."""
    group = scene.lathe.latent
    assert group.mix_geometry == group.mix_appearance
    share = np.zeros(len(seeds))
    share[seeds.index(group.seed_a)] += 1 - group.mix_geometry
    share[seeds.index(group.seed_b)] += group.mix_geometry
    return share


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_a_walk_visits_its_seeds_without_a_jump(count: int, smooth: bool) -> None:
    scene = started()
    seeds = [17, 4, 99, 23, 8][:count]
    scene.walk.seeds, scene.walk.frames, scene.walk.smooth = ", ".join(map(str, seeds)), 10, smooth
    bpy.context.scene.frame_set(5)
    press("lathe.keyframe_walk")
    shares = []
    for frame in range(5, 5 + 10 * (count - 1) + 1):
        bpy.context.scene.frame_set(frame)
        shares.append(parts(bpy.context.scene, seeds))
    shares = np.array(shares)
    assert np.allclose(shares[::10], np.eye(count)), "each tenth frame is one seed alone"
    steps = np.abs(np.diff(shares, axis=0)).max()
    assert steps < (0.17 if smooth else 0.1001), "no frame is far from the one before"
    if smooth:
        assert np.abs(np.diff(shares, axis=0))[0].max() < 0.05, "it rests at the seeds"


def test_a_walk_replaces_the_one_before_and_can_be_cleared() -> None:
    scene = started()
    scene.latent.style_layers[0] = True
    scene.walk.seeds, scene.walk.frames, scene.walk.closed = "1 2;3", 300, True
    press("lathe.keyframe_walk")
    assert bpy.context.scene.frame_end == 1 + 3 * 300 and latent().style_mix == ()
    scene.walk.seeds, scene.walk.frames, scene.walk.closed = "7, 8", 4, False
    press("lathe.keyframe_walk")
    curves = {curve.data_path: curve for curve in lathe.shape.latents.curves_of(bpy.context.scene)}
    assert [tuple(point.co) for point in curves["lathe.latent.mix_geometry"].keyframe_points] == [(1, 0), (5, 1)]
    assert [tuple(point.co) for point in curves["lathe.latent.seed_b"].keyframe_points] == [(1, 8)]
    press("lathe.clear_walk")
    assert not list(lathe.shape.latents.curves_of(bpy.context.scene))
    assert "no keyframes" in refusal("lathe.clear_walk")


def test_a_walk_leaves_other_keyframes_alone() -> None:
    started()
    item = bpy.data.objects[shape()]
    item.keyframe_insert("location", frame=1)
    bpy.context.scene.lathe.walk.seeds = "1, 2"
    press("lathe.keyframe_walk")
    press("lathe.clear_walk")
    assert {curve.data_path for curve in lathe.shape.latents.curves_of(item)} == {"location"}


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ("", "two seeds"),
        ("5", "two seeds"),
        ("1, x", "'x' is not a seed"),
        ("1, -2", "'-2' is not a seed"),
        ("1, 9999999999", "is not a seed"),
    ],
)
def test_a_walk_that_cannot_be_says_why(seeds: str, sentence: str) -> None:
    scene = started()
    scene.walk.seeds = seeds
    assert sentence in refusal("lathe.keyframe_walk")
    assert not list(lathe.shape.latents.curves_of(bpy.context.scene))


def test_a_walk_goes_through_the_favourites() -> None:
    scene = started()
    assert "Mark two latents" in refusal("lathe.walk_favourites")
    for seed in (6, 9, 12):
        scene.latent.seed_a = seed
        color()
    for index in (0, 2):
        press("lathe.star_latent", where="history", index=index)
    press("lathe.walk_favourites")
    assert scene.walk.seeds == "6, 12"


# ------------------------------------------------------------------------------------------------------------ animation


def frames(folder: Path) -> dict[int, bytes]:
    return {int(path.stem): path.read_bytes() for path in sorted(folder.glob("*.png"))}


def small_path(folder: str, source: str = "SLIDERS") -> Any:
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = 20, 12
    scene.frame_start, scene.frame_end = 1, 24
    scene.lathe.path.directory, scene.lathe.path.source = folder, source
    return scene


def test_an_animation_of_24_frames_of_latents_on_an_object_and_the_same_frame_has_the_same_pixels(
    tmp_path: str,
) -> None:
    started()
    item = bpy.data.objects[shape()]
    scene = small_path(f"{tmp_path}/a")
    for frame, mix, yaw, on in ((1, 0.0, -0.5, False), (24, 1.0, 0.5, True)):
        item.lathe.latent.mix_geometry, item.lathe.view.yaw = mix, yaw
        item.lathe.latent.controls["lock_view"].on = on
        for path in ("latent.mix_geometry", "view.yaw", 'latent.controls["lock_view"].on'):
            assert item.keyframe_insert(f"lathe.{path}", frame=frame)
    assert press("lathe.render_path").error is None
    first = frames(Path(tmp_path) / "a")
    assert sorted(first) == list(range(1, 25)) and len(set(first.values())) == 24
    scene.lathe.path.directory, scene.frame_start, scene.frame_step = f"{tmp_path}/b", 3, 7
    scene.frame_set(20)
    press("lathe.render_path")
    again = frames(Path(tmp_path) / "b")
    assert sorted(again) == [3, 10, 17, 24]
    assert all(again[frame] == first[frame] for frame in again), "the same frame has the same pixels"
    assert scene.frame_current == 20, "the user is where they were"


def test_a_walk_renders_through_the_camera_path(tmp_path: str) -> None:
    started()
    item = bpy.data.objects[shape()]
    bpy.context.scene.lathe.walk.seeds, bpy.context.scene.lathe.walk.frames = "3, 5, 7", 4
    press("lathe.keyframe_walk")
    scene = small_path(tmp_path)
    press("lathe.add_camera")
    bpy.context.view_layer.objects.active = item
    scene.lathe.path.source, scene.frame_end = "CAMERA", 9
    press("lathe.render_path")
    made = frames(Path(tmp_path))
    assert len(made) == 9 and len(set(made.values())) == 9


def test_a_path_through_the_sliders_needs_no_camera(tmp_path: str) -> None:
    started()
    scene = small_path(tmp_path, "CAMERA")
    assert "no active camera" in refusal("lathe.render_path")
    scene.lathe.path.source, scene.frame_end = "SLIDERS", 2
    press("lathe.render_path")
    assert sorted(frames(Path(tmp_path))) == [1, 2]


def test_a_driver_moves_a_slider() -> None:
    started()
    item = bpy.data.objects[shape()]
    driver = item.driver_add("lathe.latent.mix_geometry").driver
    driver.expression = "frame / 10"
    view = item.driver_add("lathe.view.yaw").driver
    variable = view.variables.new()
    variable.name, variable.targets[0].id, variable.targets[0].data_path = "x", item, "location.x"
    view.expression = "x / 2"
    item.location.x = 1.0
    seen = {}
    for frame in (2, 6, 2):
        bpy.context.scene.frame_set(frame)
        assert latent().mix_geometry == pytest.approx(frame / 10)
        assert seen.setdefault(frame, color()) == color()
    assert item.lathe.view.yaw == pytest.approx(0.5)
    assert seen[2] != seen[6]


def test_a_latent_lives_on_an_object_where_the_model_has_no_surface(tmp_path: str) -> None:
    scene = started(replace(FACE, name="flat_face", has_surface=False, no_surface_reason="Pictures only"))
    scene.latent.seed_a, scene.view.yaw = 77, 0.2
    bpy.context.scene.cursor.location = (1, 2, 3)
    press("lathe.add_latent")
    item = bpy.context.view_layer.objects.active
    assert item.type == "EMPTY" and tuple(item.location) == (1, 2, 3)
    assert item.lathe.latent.seed_a == 77 and item.lathe.view.yaw == pytest.approx(0.2)
    assert lathe.scene.gather.subject(bpy.context).object == item
    before = color()
    item.lathe.latent.seed_a = 78
    assert color() != before and scene.latent.seed_a == 77
    assert "Pictures only" in refusal("lathe.generate_mesh")
    assert "Select an object" in refusal("lathe.export"), "there is nothing to export"
    copy = item.copy()
    bpy.context.collection.objects.link(copy)
    assert copy.lathe.latent.seed_a == 78, "a copy has the latent, too"


def test_the_mesh_of_a_latent_on_an_empty_is_an_object_of_its_own() -> None:
    started()
    bpy.context.scene.lathe.mesh.resolution = 8
    press("lathe.add_latent")
    empty = bpy.context.view_layer.objects.active
    empty.location = (4, 0, 0)
    bpy.context.view_layer.update()
    made = bpy.data.objects[press("lathe.generate_mesh").result]
    assert made.type == "MESH" and tuple(made.location) == (4, 0, 0) and empty.name in bpy.data.objects


# --------------------------------------------------------------------------------------------------------------- import


def checkpoint(folder: str, name: str, data: bytes) -> str:
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def test_an_imported_checkpoint_is_in_the_list_and_chosen(tmp_path: str) -> None:
    scene = started()
    scene.preview.source = "VIEWPORT"
    job = press("lathe.import_checkpoint", filepath=checkpoint(tmp_path, "my faces (1).pkl", b"good"))
    assert job.error is None and job.result == "my_faces_1"
    assert "my_faces_1" in lathe.link.session.session.models and scene.model == "my_faces_1"
    assert "lock_view" in scene.latent.controls and scene.preview.source == "SLIDERS"
    again = press("lathe.import_checkpoint", filepath=str(Path(tmp_path) / "my faces (1).pkl"))
    assert again.result == "my_faces_1-2", "another file of the name replaces nothing"
    named = press("lathe.import_checkpoint", filepath=str(Path(tmp_path) / "my faces (1).pkl"), name="faces")
    assert named.result == "faces"


def test_a_checkpoint_that_is_refused_says_why_and_what_to_do(tmp_path: str) -> None:
    scene = started()
    path = checkpoint(tmp_path, "strange.pth", b"bad")
    job = press("lathe.import_checkpoint", filepath=path)
    assert job.state == "failed" and "strange.pth is of an unknown architecture" in job.error.message
    assert job.error.remedy.action in lathe.ui.remedies.REMEDIES, "the panel makes a button of it"
    assert scene.model == "face" and lathe.link.session.session.importing == path
    press("lathe.apply_remedy", action="choose_kind")
    assert press("lathe.import_checkpoint", filepath=path, kind="other").result == "strange"
    assert "There is no file" in refusal("lathe.import_checkpoint", filepath=f"{tmp_path}/nothing.pkl")


def test_a_folder_and_a_tensorflow_checkpoint_are_sent_whole(tmp_path: str) -> None:
    for name in ("logs/run/model.pth", "logs/specs.json", "logs/notes.txt", "tf/m.index", "tf/m.data-00000-of-00001",
                 "tf/m.meta", "tf/other.index"):  # fmt: skip
        checkpoint(tmp_path, name, name.encode())
    (Path(tmp_path) / "logs" / "link.pth").symlink_to("/etc/passwd")
    files_of = lathe.models.importing.files_of
    assert set(files_of(Path(tmp_path) / "logs")) == {"run/model.pth", "specs.json"}
    for name in ("m.index", "m.data-00000-of-00001"):
        assert set(files_of(Path(tmp_path) / "tf" / name)) == {"m.index", "m.data-00000-of-00001"}
    (Path(tmp_path) / "empty").mkdir()
    started()
    assert "holds no checkpoint" in refusal("lathe.import_checkpoint", filepath=f"{tmp_path}/empty")
    assert press("lathe.import_checkpoint", filepath=f"{tmp_path}/logs").result == "logs"


# ----------------------------------------------------------------------------------------------------------- thumbnails


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (64, 64), (65, 64), (100, 300), (512, 512), (2, 1000)])
def test_a_thumbnail_is_the_image_made_small(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 4), np.uint8)
    image[..., 0], image[..., 3] = 200, 255
    image[0, 0] = 10, 20, 30, 255
    back = lathe.scene.thumbnails.unpack(lathe.scene.thumbnails.pack(image))
    assert max(back.shape[:2]) <= 64 and back.dtype == np.uint8
    assert (back[-1, -1] == (200, 0, 0, 255)).all() or back.size == 4
    if max(size) <= 64:
        assert (back == image).all()
    assert lathe.scene.thumbnails.pack(image / np.float32(255)) == lathe.scene.thumbnails.pack(image)


@pytest.mark.parametrize("text", ["", "x", "AAAA", "////", "QEBAQEBA", "AQF4nGNg"])
def test_a_damaged_thumbnail_is_not_an_image_and_no_crash(text: str) -> None:
    with pytest.raises(ValueError):
        lathe.scene.thumbnails.unpack(text)
    assert lathe.scene.thumbnails.icon(text) == 0
