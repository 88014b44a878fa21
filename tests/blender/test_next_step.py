"""No dead ends: in every state the button at the top of the tab is enabled and leads on; reasons stand below it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import pytest

from tests.addon.fake_backend import FACE, FIELD, SLOW
from tests.blender import test_panels
from tests.blender.helpers import press, settle, until

bpy: Any = None
lathe: Any = None


def step() -> Any:
    """Return the next step, whose operator must be enabled."""
    bpy.context.view_layer.update()
    found = lathe.ui.next_step.next_step(bpy.context)
    group, name = found.operator.split(".")
    assert getattr(getattr(bpy.ops, group), name).poll(), f"{found} is a dead end"
    return found


def head() -> list[str]:
    """Draw the head of the tab; return what it drew."""
    test_panels.bpy, lathe.ui.layout.wrapped = bpy, lambda text, width: [text]
    drawn: list[str] = []
    panel = lathe.ui.next_step.LATHE_PT_next_step
    panel.draw(test_panels.Self(panel, drawn), bpy.context)
    return drawn


def started() -> Any:
    press("lathe.start_backend")
    scene = bpy.context.scene.lathe
    scene.mesh.resolution = 8
    return scene


def no_python() -> None:
    lathe.preferences.preferences(bpy.context).python = ""
    lathe.preferences.configure(bpy.context)


def test_before_set_up_the_way_is_online_access_then_set_up_then_start() -> None:
    no_python()
    preferences = lathe.preferences.preferences(bpy.context)
    bpy.context.preferences.system.use_online_access = False
    assert step().operator == "extensions.userpref_allow_online"
    assert "Blender may not use the internet yet" in " ".join(head())
    bpy.ops.extensions.userpref_allow_online()
    assert step().operator == "lathe.set_up" and "lathe.set_up" in head()
    bpy.context.preferences.system.use_online_access = False
    preferences.wheels = "/wheels"
    assert step().operator == "lathe.set_up", "no internet is needed"
    preferences.wheels, preferences.python = "", __import__("sys").executable
    assert step().operator == "lathe.start_backend"


def test_a_running_job_is_cancelled_where_it_was_started_with_its_progress_below() -> None:
    scene = started()
    assert step().operator == "lathe.generate_mesh" and "lathe.generate_mesh" in head()
    scene.latent.seed_a = SLOW
    bpy.ops.lathe.generate_mesh()
    job = lathe.link.session.session.jobs.find("mesh")
    until(lambda: job.fraction > 0)
    drawn = head()
    assert drawn[0] == "lathe.cancel_job" and "lathe.generate_mesh" not in drawn
    job.started -= 100
    assert any("left" in text for text in head()), "the time left"
    bpy.ops.lathe.cancel_job(number=job.number)
    settle()
    assert job.state == "cancelled" and step().operator == "lathe.generate_mesh"


def nothing_selected(scene: Any) -> None:
    scene.target = "OBJECT"
    bpy.context.view_layer.objects.active = None


def deleted_object(scene: Any) -> None:
    scene.target, scene.mesh.placement = "OBJECT", "LAST"
    bpy.ops.object.delete()


def other_object(scene: Any) -> None:
    scene.target = "OBJECT"
    bpy.ops.object.light_add()


def hidden_object(scene: Any) -> None:
    scene.target = "OBJECT"
    bpy.context.object.hide_set(True)


def edit_mode(scene: Any) -> None:
    bpy.ops.object.mode_set(mode="EDIT")


def renamed_object(scene: Any) -> None:
    scene.target = "OBJECT"
    bpy.context.object.name = bpy.context.object.data.name = "Ärger/?"


def missing_model(scene: Any) -> None:
    scene.model = "lost"


def missing_model_of_the_object(scene: Any) -> None:
    scene.target, bpy.context.object.lathe.model = "OBJECT", "lost"


def no_camera(scene: Any) -> None:
    scene.preview.source = "CAMERA"
    lathe.link.session.session.models["flat"] = replace(FACE, name="flat", has_surface=False)
    scene.model = "flat"


def no_camera_in_edit_mode(scene: Any) -> None:
    no_camera(scene)
    bpy.ops.object.mode_set(mode="EDIT")


def missing_field(scene: Any) -> None:
    lathe.link.session.session.models["field"] = FIELD
    lathe.field.actions.add_field(bpy.context.scene, "field")
    del lathe.link.session.session.models["field"]


def no_models(scene: Any) -> None:
    lathe.link.session.session.models = {}


def nonsense(scene: Any) -> None:
    scene.model, scene.latent.code = "\x01//..", "?"
    scene.training.name = scene.field.name = "///"


STATES = (
    nothing_selected, deleted_object, other_object, hidden_object, edit_mode, renamed_object, missing_model,
    missing_model_of_the_object, no_camera, no_camera_in_edit_mode, missing_field, no_models, nonsense,
)  # fmt: skip


@pytest.mark.parametrize("state", [state.__name__ for state in STATES])
def test_every_state_has_an_enabled_button_that_leads_on(state: str) -> None:
    scene = started()
    press("lathe.generate_mesh")
    globals()[state](scene)
    lathe.scene.leftovers.look()
    found = step()
    assert head()[0] == found.operator and (not found.reason or found.reason in head())
    if found.operator in ("lathe.generate_mesh", "lathe.new_shape", "lathe.add_camera") and state != "edit_mode":
        for _ in range(3):  # until there is something to see
            job = press(found.operator)
            if found.operator in ("lathe.generate_mesh", "lathe.preview"):
                assert job.error is None
                return
            found = step()
        raise AssertionError(found)


def test_a_killed_backend_says_why_once_and_is_started_again_by_the_button() -> None:
    started()
    session = lathe.link.session.session
    os.kill(session.pid, signal.SIGKILL)
    until(lambda: session.state == "died")
    assert step().operator == "lathe.restart_backend"
    assert sum(session.reason.message in text for text in head()) == 1
    press("lathe.restart_backend")
    assert step().operator == "lathe.generate_mesh" and "Backend" not in head()
