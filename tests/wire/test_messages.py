"""Requests check themselves when they are made, on either side."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from addon.wire import messages as m
from addon.wire import payload, routes
from addon.wire.errors import InvalidRequest
from tests.wire.examples import CAMERA, LATENT, SCENE, SHA


def with_entry(matrix: Any, row: int, column: int, value: float) -> Any:
    rows = [list(r) for r in matrix]
    rows[row][column] = value
    return tuple(tuple(r) for r in rows)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e154, -1e308])
def test_a_matrix_takes_no_number_that_overflows(value: float) -> None:
    for row, column in ((0, 0), (1, 2), (2, 3)):
        with pytest.raises(InvalidRequest):
            dataclasses.replace(CAMERA, world_from_camera=with_entry(m.IDENTITY4, row, column, value))
        with pytest.raises(InvalidRequest):
            dataclasses.replace(SCENE, world_from_scene=with_entry(m.IDENTITY4, row, column, value))
    with pytest.raises(InvalidRequest):
        dataclasses.replace(CAMERA, intrinsics=with_entry(CAMERA.intrinsics, 0, 0, value))


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (CAMERA, {"width": 0}),
        (CAMERA, {"height": 8193}),
        (CAMERA, {"intrinsics": with_entry(CAMERA.intrinsics, 1, 1, 0.0)}),
        (CAMERA, {"world_from_camera": with_entry(m.IDENTITY4, 0, 0, 2.0)}),
        (CAMERA, {"world_from_camera": with_entry(m.IDENTITY4, 0, 0, -1.0)}),
        (CAMERA, {"world_from_camera": with_entry(m.IDENTITY4, 3, 0, 1.0)}),
        (SCENE, {"world_from_scene": with_entry(m.IDENTITY4, 0, 0, 0.0)}),
        (SCENE, {"model": "../elsewhere"}),
        (SCENE, {"model": ""}),
        (SCENE, {"controls": {"light": math.inf}}),
        (LATENT, {"seed_a": -1}),
        (LATENT, {"mix_geometry": 1.1}),
        (LATENT, {"truncation_psi": math.nan}),
        (LATENT, {"code": SHA.upper()}),
        (LATENT, {"code": SHA[:-1]}),
        (LATENT, {"code_b": SHA[:-1]}),
        (LATENT, {"rows": (m.StoredRow(1, SHA), m.StoredRow(1, SHA))}),
        (LATENT, {"directions": (m.Direction(SHA),) * 65}),
        (LATENT.rows[0], {"row": -1}),
        (LATENT.rows[0], {"code": ""}),
        (LATENT.directions[0], {"strength": math.inf}),
        (LATENT.directions[0], {"code": "mean"}),
        (LATENT.directions[0], {"rows": (512,)}),
        (m.MeshRequest(SCENE), {"resolution": 7}),
        (m.MeshRequest(SCENE), {"iso_level": math.inf}),
        (m.MeshRequest(SCENE), {"target_faces": -1}),
        (m.GenerateRequest("a", (LATENT,)), {"latents": ()}),
        (m.FitShapeRequest("a", SHA), {"name": "a/b"}),
        (m.FitRequest("a", {"b": SHA}), {"name": "../a"}),
        (m.FitRequest("a", resume=True), {"resume": False}),
        (m.FitOptions(), {"seconds": math.nan}),
        (m.FitOptions(), {"steps": -1}),
        (m.FitOptions(), {"near": -1.0}),
        (m.SfmRequest({"b": SHA}), {"max_images": 1}),
    ],
)
def test_a_field_out_of_range_is_refused(message: Any, change: dict[str, Any]) -> None:
    assert dataclasses.replace(message) == message
    with pytest.raises(InvalidRequest):
        dataclasses.replace(message, **change)


@pytest.mark.parametrize(
    "name",
    [
        "", "/etc/passwd", "../a.png", "a/../../b.png", "a//b.png", "a/", "./a.png", "C:/a.png", "c:a.png", "a\\b.png",
        "nul", "images/CON.png", "a\n.png", "a\0.png", "dir./a.png", "a.png ", "x" * 241, "what?.png",
    ],
)  # fmt: skip
def test_a_data_set_takes_no_file_name_that_leaves_its_folder_on_any_system(name: str) -> None:
    with pytest.raises(InvalidRequest):
        m.FitRequest("a", {"fine.png": SHA, name: SHA})
    with pytest.raises(InvalidRequest):
        m.SfmRequest({"fine.png": SHA, name: SHA})


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"a.png": SHA[:-1]},
        {"a.png": SHA, "A.PNG": SHA},
        {"a": SHA, "a/b.png": SHA},
        {f"{n}.png": SHA for n in range(m.MAX_FILES + 1)},
    ],
    ids=["none", "no sha256", "same on Windows", "a file as a folder", "too many"],
)
def test_a_data_set_that_cannot_be_laid_out_is_refused(files: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        m.FitRequest("a", files)


def test_the_most_files_of_a_data_set_fit_into_one_request() -> None:
    files = {f"images/photograph with a long name {n:05d}.jpeg": SHA for n in range(m.MAX_FILES)}
    assert len(payload.to_json(m.FitRequest("a", files))) < routes.MAX_JSON_BYTES


def test_a_number_out_of_range_names_the_nearest_that_works() -> None:
    with pytest.raises(InvalidRequest, match="between 8 and 1024, got 4096") as caught:
        m.MeshRequest(SCENE, resolution=4096)
    assert caught.value.remedy is not None and caught.value.remedy.label == "Set resolution to 1024"


def test_mirrored_and_stretched_objects_are_allowed_where_cameras_are_not() -> None:
    stretched = np.diag([2.0, 0.5, -1.0, 1.0]).tolist()
    matrix = tuple(tuple(row) for row in stretched)
    assert m.SceneRef("a", world_from_scene=matrix).world_from_scene == matrix  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="scale and mirroring"):
        dataclasses.replace(CAMERA, world_from_camera=matrix)


@pytest.mark.parametrize(
    ("old", "latent"),
    [
        ("{}", m.Latent()),
        (
            '{"seed_a":3,"seed_b":5,"mix_geometry":0.25,"mix_appearance":0.5,"truncation_psi":0.7,'
            f'"code":"{SHA}","style_mix":[0,3],"condition":[0.1,-0.2]}}',
            m.Latent(3, 5, 0.25, 0.5, 0.7, SHA, (0, 3), (0.1, -0.2)),
        ),
        ('{"seed_a":3,"seed_b":0,"mix_geometry":0.0,"mix_appearance":0.0,"truncation_psi":1.0}', m.Latent(3)),
    ],
    ids=["bare", "of protocol 1", "before codes"],
)  # fmt: skip
def test_a_latent_written_before_w_plus_is_read_as_it_was_meant(old: str, latent: m.Latent) -> None:
    assert payload.from_json(m.Latent, old.encode()) == latent
    assert latent.code_b == "" and latent.rows == () and latent.directions == ()


def test_a_latent_names_each_stored_code_it_needs_once() -> None:
    assert m.Latent().codes() == ()
    assert LATENT.codes() == (SHA, SHA[::-1])
