"""Requests, the command line and Blender have the same options: label, help, range, choices and default."""

from __future__ import annotations

import inspect
import math
import typing
from typing import Any

from addon.wire import messages as m
from addon.wire.options import Option, options_of
from backend.cli.app import cli
from backend.cli.options import help_of

bpy: Any = None
lathe: Any = None

GROUPS: dict[type, str] = {
    m.Latent: "latent",
    m.MeshRequest: "mesh",
    m.RenderRequest: "path",
    m.CompleteRequest: "complete",
    m.FitShapeRequest: "fit",
    m.FitOptions: "field",
    m.SfmRequest: "field",
    m.ViewsRequest: "field",
    m.TrainingSetRequest: "training_set",
    m.TrainOptions: "training",
    m.InversionOptions: "inversion",
}
"""Property group of `scene.lathe` that holds the options of a message."""

RENAMED = {
    (m.Latent, "truncation_psi"): "truncation",
    (m.MeshRequest, "iso_level"): "level",
    (m.ViewsRequest, "count"): "views",
}
"""Names of properties that differ from the field's: a .blend file stores them, so they stay."""

ABSENT = {
    (m.RenderRequest, "samples_per_ray"): "the panel offers qualities; each model chooses its samples",
    (m.ViewsRequest, "size"): "the panel takes the model's own size",
    (m.ViewsRequest, "seed"): "the panel takes the same viewpoints each time",
    (m.GenerateRequest, "size"): "the sheet of variants has one size",
    (m.GenerateRequest, "quality"): "variants are drafts",
    (m.ImportRequest, "kind"): "a choice of the operator, from the kinds that the backend lists",
    (m.ImportRequest, "label"): "the panel shows the name of the file",
}
"""Options without a property, and why."""

DEFAULTS = {
    (m.Latent, "seed_b"): "another shape than seed A, so that the mixes show something at once",
    (m.Latent, "truncation_psi"): "0.7 makes presentable shapes at once; .blend files rely on it",
    (m.MeshRequest, "iso_level"): "Blender has no empty number: `use_level` says whether it counts",
    (m.SfmRequest, "max_images"): ".blend files rely on 150",
}
"""Options whose property starts with another value, and why."""


COMMANDS: dict[type, str] = {
    m.Latent: "mesh",
    m.MeshRequest: "mesh",
    m.RenderRequest: "generate",
    m.CompleteRequest: "complete",
    m.FitShapeRequest: "fit-shape",
    m.FitOptions: "fit",
    m.SfmRequest: "sfm",
    m.ViewsRequest: "views",
    m.TrainingSetRequest: "training-set",
    m.InversionOptions: "invert",
}
"""Command that has the options of a message."""

FLAGS = {
    (m.Latent, "seed_a"): "seed",
    (m.Latent, "seed_b"): "seed2",
    (m.Latent, "code_b"): "code2",
    (m.Latent, "truncation_psi"): "truncation",
    (m.MeshRequest, "iso_level"): "level",
    (m.RenderRequest, "samples_per_ray"): "samples",
    (m.FitOptions, "use_masks"): "masks",
    (m.ViewsRequest, "seed"): "viewpoints",
}
"""Names of command-line options that differ from the field's; scripts use them, so they stay."""

WITHOUT_FLAG = {
    (m.RenderRequest, "quality"): "the command line renders in full quality",
    (m.GenerateRequest, "size"): "`generate` renders one image, of the size of its camera",
    (m.GenerateRequest, "quality"): "the command line renders in full quality",
    (m.ImportRequest, "kind"): "`import` has an option of its own, which can be left out",
    (m.ImportRequest, "label"): "`import` takes the name of the folder",
}
"""Options that the command line does not derive, and why."""

FLAG_DEFAULTS = {
    (m.Latent, "seed_b"): "left out, there is no second latent and nothing to mix with",
}
"""Options whose default on the command line differs, and why."""


def flags() -> list[tuple[type, Option, inspect.Parameter]]:
    commands = {
        info.name or info.callback.__name__: inspect.signature(info.callback) for info in cli.registered_commands
    }
    return [
        (kind, option, commands[COMMANDS[kind]].parameters[FLAGS.get((kind, name), name)])
        for kind in COMMANDS
        for name, option in options_of(kind).items()
        if (kind, name) not in WITHOUT_FLAG
    ]


def properties() -> list[tuple[type, Option, Any]]:
    scene = bpy.context.scene.lathe
    return [
        (kind, option, getattr(scene, GROUPS[kind]).bl_rna.properties[RENAMED.get((kind, name), name)])
        for kind in GROUPS
        for name, option in options_of(kind).items()
        if (kind, name) not in ABSENT
    ]


def same(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=1e-6)  # Blender keeps float32


def test_every_option_of_a_request_has_a_property_or_a_reason_for_none() -> None:
    kinds = (m.Latent, m.FitOptions, m.TrainOptions, m.InversionOptions, *m.REQUESTS.values())
    known = {(kind, name) for kind in kinds for name in options_of(kind)}
    shown = {(kind, option.name) for kind, option, _ in properties()}
    assert shown | set(ABSENT) == known and not shown & set(ABSENT)
    assert set(DEFAULTS) <= shown and set(RENAMED) <= shown


def test_every_option_of_a_request_is_on_the_command_line_or_has_a_reason() -> None:
    kinds = (m.Latent, m.FitOptions, m.InversionOptions, *m.REQUESTS.values())
    known = {(kind, name) for kind in kinds for name in options_of(kind)}
    shown = {(kind, option.name) for kind, option, _ in flags()}
    assert shown | set(WITHOUT_FLAG) == known and not shown & set(WITHOUT_FLAG)
    assert set(FLAG_DEFAULTS) <= shown and set(FLAGS) <= shown


def test_the_command_line_has_help_choices_and_defaults_of_the_options() -> None:
    for kind, option, flag in flags():
        values, described = typing.get_args(flag.annotation)
        assert described.help == help_of(option) and described.help.startswith(option.help)
        if option.choices:
            assert [value.value for value in values] == [choice.value for choice in option.choices]
        assert (flag.default == option.default) == ((kind, option.name) not in FLAG_DEFAULTS), option


def test_label_and_help_are_those_of_the_option() -> None:
    for _, option, found in properties():
        assert (found.name, found.description) == (option.label, option.help)
        if option.choices:
            items = [(item.identifier, item.name, item.description) for item in found.enum_items]
            assert items == [(choice.value.upper(), choice.label, choice.help) for choice in option.choices]


def test_range_and_unit_are_those_of_the_option() -> None:
    for _, option, found in properties():
        if option.minimum is not None:
            assert same(found.hard_min, option.minimum) and same(found.hard_max, option.maximum), option
            assert same(found.soft_min, option.soft_minimum) and same(found.soft_max, option.soft_maximum), option
        wanted = {"metres": "DISTANCE", "factor": "FACTOR"}.get(option.unit, "NONE")
        assert found.subtype == wanted, option


def test_the_default_is_that_of_the_option_or_differs_for_a_reason() -> None:
    for kind, option, found in properties():
        wanted = option.default.upper() if option.choices else option.default
        equal = wanted is not None and (
            same(found.default, wanted) if option.kind is float else found.default == wanted
        )
        assert equal == ((kind, option.name) not in DEFAULTS), option


def test_the_settings_of_a_new_scene_are_the_defaults_of_the_requests() -> None:
    scene, gather = bpy.context.scene, lathe.scene.gather
    wire = lathe.wire.messages
    assert lathe.field.actions.fit_options(bpy.context) == wire.FitOptions()
    assert wire.FitShapeRequest("a", "0" * 64, **gather.option_values(wire.FitShapeRequest, scene.lathe.fit))
    scene.lathe.field.method, scene.lathe.field.near = "NERF", 0.25
    changed = lathe.field.actions.fit_options(bpy.context)
    assert changed == wire.FitOptions(method="nerf", near=0.25)
