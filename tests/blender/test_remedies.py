"""Each registered remedy has a button in the add-on that does what it says."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from addon.wire.errors import ACTIONS, Remedy
from addon.wire.messages import StoredTraining
from tests.addon.fake_backend import FACE, FIELD, SPHERE
from tests.blender import test_main_job as main

bpy: Any = None
lathe: Any = None

SETTINGS: dict[str, tuple[str, Any, str, Any]] = {
    "raise_resolution": ("mesh.resolution", 64, "128.0", 128),
    "set_resolution": ("mesh.resolution", 64, "128.0", 128),
    "lower_target_faces": ("mesh.target_faces", 0, "5000.0", 5000),
    "set_texture_size": ("mesh.texture_size", 8192, "1024.0", 1024),
    "set_format": ("export.format", "OBJ", "glb", "GLB"),
    "flip_axes": ("field.flip_axes", False, "", True),
    "ignore_masks": ("field.use_masks", True, "", False),
    "use_preset": ("field.preset", "FINE", "draft", "DRAFT"),
    "lower_resolution": ("mesh.resolution", 512, "128.0", 128),
}
"""Action -> setting of `scene.lathe`, its value before, the remedy's value, the setting's value after."""

CALLS: dict[str, tuple[str, str]] = {
    "set_up": ("set_up", ""),
    "update_backend": ("set_up", ""),
    "restart_backend": ("restart_backend", ""),
    "any_port": ("restart_backend", ""),
    "doctor": ("check", ""),
    "open_log": ("open_log", ""),
    "refresh_models": ("refresh_models", ""),
    "use_auto_device": ("use_device", ""),
    "add_camera": ("add_camera", ""),
    "fit_views": ("fit_views", "face"),
    "restart_fit": ("field.fit", "chair"),
    "restart_training": ("training.train", "chair"),
}
"""Action -> the function that its button calls, and the remedy's value. Their own tests say what they do."""

WINDOWS: dict[str, tuple[str, str]] = {
    "update_addon": ("screen.userpref_show", ""),
    "allow_online": ("screen.userpref_show", ""),
    "open_folder": ("wm.path_open", "/tmp"),
    "choose_python": ("lathe.choose_python", ""),
    "choose_model": ("wm.call_menu", ""),
    "choose_kind": ("lathe.import_checkpoint", ""),
    "import_again": ("lathe.import_checkpoint", "face"),
    "download_again": ("lathe.import_checkpoint", ""),
    "choose_folder": ("lathe.choose_folder", ""),
}
"""Action -> the operator that its button opens, and the remedy's value."""

OWN_TESTS = {"choose_name", "reset_control", "reset_crop", "resume_fit", "resume_training", "retry", "run_sfm",
             "set_level", "set_value", "upload_again", "use_cpu_build"}  # fmt: skip


def press(action: str, value: str = "") -> None:
    assert bpy.ops.lathe.apply_remedy(action=action, value=value) == {"FINISHED"}


def failed(kind: str, action: str) -> None:
    """Have a job of this kind fail with this remedy."""
    errors, session = lathe.wire.errors, lathe.link.session.session

    def fail(job: Any) -> None:
        raise errors.InvalidRequest("no", remedy=errors.Remedy(action, "Do it"))

    session.jobs.start("Job", fail, kind=kind)
    while session.jobs.busy:
        session.jobs.pump()
    assert session.jobs.failed is not None and session.jobs.failed.kind == kind


def setting(path: str) -> tuple[Any, str]:
    group, name = path.split(".")
    return getattr(bpy.context.scene.lathe, group), name


def test_each_registered_action_has_a_handler_and_a_test_here() -> None:
    assert set(lathe.ui.remedies.REMEDIES) == set(ACTIONS)
    assert sorted([*SETTINGS, *CALLS, *WINDOWS, *OWN_TESTS]) == sorted(ACTIONS)


def test_the_button_is_drawn_with_the_text_of_the_remedy() -> None:
    drawn = SimpleNamespace()
    layout = SimpleNamespace(operator=lambda name, text, icon: (setattr(drawn, "text", text), drawn)[1])
    lathe.ui.remedies.remedy_button(layout, Remedy("set_level", "Set the level to 0.02", 0.02))
    assert (drawn.text, drawn.action, drawn.value) == ("Set the level to 0.02", "set_level", "0.02")


@pytest.mark.parametrize("action", SETTINGS)
def test_the_button_changes_the_setting(action: str) -> None:
    path, before, value, after = SETTINGS[action]
    group, name = setting(path)
    setattr(group, name, before)
    press(action, value)
    assert getattr(group, name) == after


@pytest.mark.parametrize("action", CALLS)
def test_the_button_calls_the_function(action: str) -> None:
    path, value = CALLS[action]
    owner, name = lathe.ui.remedies, path
    if "." in path:
        room, name = path.split(".")
        owner = getattr(lathe, room).actions
    called, original = [], getattr(owner, name)
    setattr(owner, name, lambda context, *rest: called.append(rest))
    try:
        press(action, value)
    finally:
        setattr(owner, name, original)
    assert called == [("AUTO",) if action == "use_auto_device" else ()]


@pytest.mark.parametrize("action", WINDOWS)
def test_the_button_opens_the_window(action: str) -> None:
    """Background Blender opens none, so the call is noted: the operator must exist and take these arguments."""
    opened, real = [], bpy.ops

    class Ops:
        def __getattr__(self, group: str) -> Any:
            return Group(group)

    class Group:
        def __init__(self, group: str) -> None:
            self.group = group

        def __getattr__(self, name: str) -> Any:
            operator = getattr(getattr(real, self.group), name)

            def call(*mode: str, **arguments: Any) -> None:
                assert set(arguments) <= set(operator.get_rna_type().properties.keys())
                opened.append(f"{self.group}.{name}")
                assert name != "call_menu" or hasattr(bpy.types, arguments["name"])

            return call

    path, value = WINDOWS[action]
    remedies, original = lathe.ui.remedies, lathe.ui.remedies.bpy
    remedies.bpy = SimpleNamespace(app=SimpleNamespace(background=False), ops=Ops())
    try:
        remedies.REMEDIES[action](bpy.context, value)
    finally:
        remedies.bpy = original
    assert opened == [path]
    press(action, value)  # does nothing in the background, and does not fail


def test_a_taken_name_is_replaced_by_a_free_one() -> None:
    session, scene = lathe.link.session.session, bpy.context.scene.lathe
    session.models = {"face": FACE, "chair": replace(FACE, name="chair"), "chair-2": replace(FACE, name="chair-2")}
    scene.fit.name, scene.field.name = "face", "chair"
    failed("fit_shape", "choose_name")
    press("choose_name")
    assert scene.fit.name == "face-2" and scene.field.name == "chair"
    failed("fit", "choose_name")
    press("choose_name")
    assert scene.field.name == "chair-3"
    scene.training.name = "face"
    failed("train", "choose_name")
    press("choose_name")
    assert scene.training.name == "face-2"


def test_a_render_that_is_too_large_gets_the_largest_size_of_its_aspect() -> None:
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = 8000, 4000, 200
    press("set_value", "width")
    assert (render.resolution_x, render.resolution_y, render.resolution_percentage) == (8192, 4096, 100)
    failed("path", "lower_resolution")
    press("lower_resolution", "1024")
    assert lathe.scene.gather.render_size(bpy.context.scene) == (1024, 512)


def test_lower_resolution_goes_to_what_failed() -> None:
    scene = bpy.context.scene.lathe
    scene.preview.size, scene.capture.size, scene.mesh.resolution = 2048, 512, 256
    failed("preview", "lower_resolution")
    press("lower_resolution", "256.0")
    failed("fit", "lower_resolution")
    press("lower_resolution", "")
    assert (scene.preview.size, scene.capture.size, scene.mesh.resolution) == (256, 256, 256)


def test_a_level_and_a_control_are_set() -> None:
    scene = bpy.context.scene.lathe
    lathe.link.session.session.models = {"sphere": SPHERE}
    lathe.models.actions.choose_model(bpy.context, "sphere")
    press("set_level", "0.25")
    assert scene.mesh.use_level and scene.mesh.level == 0.25
    scene.latent.controls["puff"].value = 1.5
    press("reset_control", "puff")
    assert scene.latent.controls["puff"].value == 0.5


def test_the_crop_is_reset_to_the_whole_field() -> None:
    lathe.link.session.session.models = {"field": FIELD}
    lathe.field.actions.add_field(bpy.context.scene, "field")
    item = bpy.context.active_object.lathe
    item.use_crop, item.crop_min = True, (0.5, 0.5, 0.5)
    press("reset_crop")
    assert not item.use_crop and tuple(item.crop_min) == tuple(item.box_min)


def test_structure_from_motion_gets_the_folder_of_the_data_set() -> None:
    settings = bpy.context.scene.lathe.field
    settings.source, settings.folder = "FOLDER", "//photos"
    press("run_sfm")
    assert settings.source == "PHOTOS" and settings.photos == "//photos"


def test_the_cpu_build_is_chosen() -> None:
    press("use_cpu_build")
    assert lathe.preferences.preferences(bpy.context).torch_build == "CPU"


@pytest.mark.parametrize("action", ["retry", "upload_again"])
def test_the_failed_job_is_started_again(action: str) -> None:
    calls, remedies = [], lathe.ui.remedies
    original = dict(remedies.RETRY)
    remedies.RETRY.update({kind: lambda context, kind=kind: calls.append(kind) for kind in original})
    try:
        for kind in original:
            failed(kind, action)
            press(action, "")
    finally:
        remedies.RETRY.update(original)
    assert calls == list(original)


@pytest.mark.parametrize(("action", "kind"), [("resume_fit", "fit"), ("resume_training", "train")])
def test_a_fit_and_a_training_are_continued_by_their_name(action: str, kind: str) -> None:
    main.bpy, main.lathe = bpy, lathe
    main.started()
    lathe.link.session.session.stored_trainings = (StoredTraining("ring", "fakegan", 1, 2, 1.0, False),)
    press(action, "ring")
    job = lathe.link.session.session.jobs.all[-1]
    assert job.kind == kind and "ring" in job.label
    main.settle()
