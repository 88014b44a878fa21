"""Requests check themselves when they are made, on either side."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from addon.wire import messages as m
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
        (m.MeshRequest(SCENE), {"resolution": 7}),
        (m.MeshRequest(SCENE), {"iso_level": math.inf}),
        (m.MeshRequest(SCENE), {"target_faces": -1}),
        (m.GenerateRequest("a", (LATENT,)), {"latents": ()}),
        (m.FitShapeRequest("a", SHA), {"name": "a/b"}),
    ],
)
def test_a_field_out_of_range_is_refused(message: Any, change: dict[str, Any]) -> None:
    assert dataclasses.replace(message) == message
    with pytest.raises(InvalidRequest):
        dataclasses.replace(message, **change)


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
