"""Every panel can be drawn in every state, and names only properties and operators that exist.

Background Blender draws nothing, so a layout that records stands in for Blender's.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.addon.fake_backend import CAR, FACE, FIELD
from tests.blender.helpers import settle

bpy: Any = None
lathe: Any = None


class Layout:
    """Takes what a panel draws, and fails for what Blender would not know."""

    def __init__(self, drawn: list[str]) -> None:
        self.drawn = drawn

    def _part(self, *_: Any, **__: Any) -> Layout:
        return Layout(self.drawn)

    column = row = box = split = grid_flow = _part

    def separator(self, **_: Any) -> None:
        pass

    def label(self, *, text: str = "", **_: Any) -> None:
        self.drawn.append(text)

    def progress(self, *, factor: float, text: str, **_: Any) -> None:
        assert 0 <= factor <= 1
        self.drawn.append(text)

    def prop(self, data: Any, name: str, text: str = "", **_: Any) -> None:
        assert name in data.bl_rna.properties, f"{data} has no {name}"
        self.drawn += [name, text] if text else [name]

    def operator(self, name: str, text: str = "", **_: Any) -> Any:
        group, _, short = name.partition(".")
        assert hasattr(getattr(bpy.ops, group), short)
        self.drawn += [name, text] if text else [name]
        return getattr(getattr(bpy.ops, group), short).get_rna_type() and Properties(name)

    def menu(self, name: str, **_: Any) -> None:
        assert hasattr(bpy.types, name)

    def template_icon(self, **_: Any) -> None:
        self.drawn.append("icon")

    def template_ID(self, data: Any, name: str, **_: Any) -> None:
        self.prop(data, name)

    def template_list(self, kind: str, _: str, data: Any, name: str, active_data: Any, active: str, **__: Any) -> None:
        rows = getattr(bpy.types, kind)
        flags, _order = rows.filter_items(SimpleNamespace(bitflag_filter_item=1), bpy.context, data, name)
        for index, item in enumerate(getattr(data, name)):
            if flags[index]:
                rows.draw_item(None, bpy.context, self, data, item, 0, active_data, active, index)


class Properties:
    """An operator's properties: only those it has can be set."""

    def __init__(self, operator: str) -> None:
        group, _, name = operator.partition(".")
        object.__setattr__(self, "known", set(getattr(getattr(bpy.ops, group), name).get_rna_type().properties.keys()))

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self.known, name


class Self:
    """A panel with a layout of ours."""

    def __init__(self, panel: Any, drawn: list[str]) -> None:
        self.layout, self._panel = Layout(drawn), panel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._panel, name).__get__(self)


def draw_all() -> dict[str, list[str]]:
    """Draw all panels that show now; return what each drew."""
    shown = {}
    lathe.ui.layout.wrapped = lambda text, width: [text]
    for panel in lathe.registration.PANELS:
        if hasattr(panel, "poll") and not panel.poll(bpy.context):
            continue
        drawn: list[str] = []
        for method in ("draw_header", "draw"):
            if method in vars(panel):
                getattr(panel, method)(Self(panel, drawn), bpy.context)
        shown[panel.__name__] = drawn
    return shown


def test_before_anything_was_started() -> None:
    shown = draw_all()
    assert "lathe.start_backend" in shown["LATHE_PT_backend"] and "lathe.start_backend" in shown["LATHE_PT_next_step"]


@pytest.mark.parametrize("source", ["SCENE", "FOLDER", "PHOTOS"])
def test_the_panel_fit_shows_what_its_source_needs(source: str) -> None:
    bpy.ops.lathe.start_backend()
    settle()
    bpy.context.scene.lathe.field.source = source
    shown = draw_all()
    wanted = {"SCENE": "lathe.capture", "FOLDER": "folder", "PHOTOS": "lathe.find_cameras"}
    assert [wanted[source] in shown["LATHE_PT_fit"], "lathe.fit" in shown["LATHE_PT_fit"]] == [True, True]
    assert ("LATHE_PT_capture" in shown) == (source == "SCENE")
    assert "refine_poses" in shown["LATHE_PT_fit_options"]


def test_the_reason_stands_below_a_button_that_cannot_be_pressed() -> None:
    bpy.context.scene.lathe.field.source = "SCENE"
    assert not [text for text in draw_all()["LATHE_PT_fit"] if " " in text], "without a backend the head says so"
    bpy.ops.lathe.start_backend()
    settle()
    bpy.context.scene.lathe.preview.source = "CAMERA"
    shown = draw_all()
    assert "Press Capture first" in shown["LATHE_PT_fit"]
    assert any("Select the objects to capture" in text for text in shown["LATHE_PT_fit"])
    assert any("no active camera" in text for text in shown["LATHE_PT_path"])
    assert any("no active camera" in text for text in shown["LATHE_PT_preview"])


def test_a_running_fit_shows_figures_and_buttons_and_a_paused_one_how_to_go_on(tmp_path: str) -> None:
    bpy.ops.lathe.start_backend()
    settle()
    place = Path(tmp_path) / "hang_on"
    place.mkdir()
    (place / "transforms.json").write_text("{}")
    settings = bpy.context.scene.lathe.field
    settings.source, settings.folder = "FOLDER", str(place)
    bpy.ops.lathe.fit()
    job, deadline = lathe.link.session.session.jobs.all[-1], time.monotonic() + 20
    while not ("hang_on" in bpy.data.objects and "Lathe Fit" in bpy.data.images):
        lathe.link.session.session.jobs.pump()
        assert time.monotonic() < deadline and not job.ended, job.error
    shown = draw_all()["LATHE_PT_fit"]
    assert {"lathe.pause_fit", "lathe.cancel_fit", "1:01 left", "icon"} <= set(shown) and "lathe.fit" not in shown
    bpy.ops.lathe.pause_fit()
    settle()
    shown = draw_all()["LATHE_PT_fit"]
    assert {"lathe.continue_fit", "lathe.discard_fit", "lathe.fit"} <= set(shown)
    assert any("hang_on: 10 steps" in text for text in shown)


def test_a_field_shows_crop_and_level_but_no_seeds() -> None:
    bpy.ops.lathe.start_backend()
    settle()
    session = lathe.link.session.session
    session.models["field"] = FIELD
    assert "LATHE_PT_latent" in draw_all()
    lathe.field.actions.add_field(bpy.context.scene, "field")
    shown = draw_all()
    assert "LATHE_PT_latent" not in shown and "crop_min" in shown["LATHE_PT_crop"]
    assert {"level_slider", "live"} <= set(shown["LATHE_PT_mesh"])
    bpy.context.view_layer.objects.active = None
    bpy.context.scene.lathe.model = "field"
    shown = draw_all()
    assert "lathe.add_field" in shown["LATHE_PT_model"] and "LATHE_PT_crop" not in shown
    assert "live" not in shown["LATHE_PT_mesh"]


def choose(info: Any) -> dict[str, list[str]]:
    """Start the backend, choose a model and draw."""
    if lathe.link.session.session.state != "ready":
        bpy.ops.lathe.start_backend()
        settle()
    lathe.link.session.session.models[info.name] = info
    bpy.ops.lathe.choose_model(model=info.name)
    return draw_all()


def test_panels_are_drawn_where_the_model_has_what_they_are_about() -> None:
    shown = choose(FACE)
    assert {"seed_a", "Seed A", "mix_appearance", "truncation", "on", "number"} <= set(shown["LATHE_PT_latent"])
    assert "condition_yaw" in shown["LATHE_PT_condition"]
    layers = [text for text in shown["LATHE_PT_style_mix"] if text.isdecimal()]
    assert layers == ["1", "2", "3", "4", "5", "6"], "one switch for each layer of the model"
    assert {"yaw", "pitch", "roll", "fov"} <= set(shown["LATHE_PT_preview"])
    shown = choose(replace(FACE, name="one", num_ws=1, num_geometry_ws=1, pose_conditioned=False, has_truncation=False))
    assert not {"LATHE_PT_style_mix", "LATHE_PT_condition"} & set(shown)
    assert not {"mix_appearance", "truncation"} & set(shown["LATHE_PT_latent"]) and "Mix" in shown["LATHE_PT_latent"]
    assert not {"LATHE_PT_latent", "LATHE_PT_walk", "LATHE_PT_history", "LATHE_PT_variants"} & set(choose(FIELD))


def test_the_seeds_of_a_model_of_two_codes_are_called_by_them() -> None:
    shown = choose(CAR)["LATHE_PT_latent"]
    assert {"Shape Seed", "Texture Seed", "Mix Shape", "Mix Texture"} <= set(shown)


def test_a_view_from_where_the_model_was_never_seen_is_remarked() -> None:
    remark = "Not trained on this view"
    assert remark not in choose(FACE)["LATHE_PT_preview"]
    bpy.context.scene.lathe.view.yaw = 0.7
    assert remark in draw_all()["LATHE_PT_preview"]
    bpy.context.scene.lathe.view.yaw, bpy.context.scene.lathe.view.pitch = 0.0, -0.5
    assert remark in draw_all()["LATHE_PT_preview"]


def test_variants_and_history_are_drawn_with_their_buttons() -> None:
    shown = choose(FACE)
    assert "icon" not in shown["LATHE_PT_variants"]
    scene = bpy.context.scene.lathe
    scene.latent.seed_a, scene.preview.size = 30, 16
    bpy.ops.lathe.variants(count=3)
    settle()
    bpy.ops.lathe.preview()
    settle()
    shown = draw_all()
    assert shown["LATHE_PT_variants"].count("icon") == 3
    assert [text for text in shown["LATHE_PT_variants"] if text.isdecimal()] == ["30", "31", "32"]
    assert "lathe.star_latent" in shown["LATHE_PT_history"] and "30" in shown["LATHE_PT_history"]
    scene.favourites_only = True
    assert "30" not in draw_all()["LATHE_PT_history"]
    bpy.ops.lathe.star_latent(where="history", index=0)
    assert "30" in draw_all()["LATHE_PT_history"]


def test_what_the_backend_says_of_an_image_stands_below_it() -> None:
    choose(FACE)
    for size, remarked in ((48, True), (16, False)):
        bpy.context.scene.lathe.preview.size = size
        bpy.ops.lathe.preview()
        settle()
        assert ("Turned into the model's range" in draw_all()["LATHE_PT_preview"]) == remarked


def test_a_model_without_a_surface_offers_an_object_for_its_latent() -> None:
    shown = choose(replace(FACE, name="flat_face", has_surface=False, no_surface_reason="Pictures only"))
    assert {"Pictures only", "lathe.add_latent"} <= set(shown["LATHE_PT_mesh"])
    assert "lathe.generate_mesh" not in shown["LATHE_PT_mesh"]


def test_a_failure_shows_its_remedy() -> None:
    bpy.ops.lathe.start_backend()
    settle()
    settings = bpy.context.scene.lathe.field
    settings.source, settings.folder = "FOLDER", "/nowhere"
    bpy.ops.lathe.fit()
    settle()
    shown = draw_all()
    assert "lathe.dismiss_error" in shown["LATHE_PT_next_step"]
    message = lathe.link.session.session.jobs.failed.error.message
    assert [message in text for drawn in shown.values() for text in drawn].count(True) == 1, "an error appears once"
    bpy.ops.lathe.preview()
    settle()
    assert "lathe.dismiss_error" not in draw_all()["LATHE_PT_next_step"], "the next success takes it away"
