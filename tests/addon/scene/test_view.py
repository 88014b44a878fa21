"""The view of the sliders: what the panel's yaw, pitch, roll and field of view mean."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.scene import gather
from addon.wire import messages
from backend import cameras

from ..fake_backend import FACE, SPHERE


class View:
    """A LatheView without Blender."""

    def __init__(self, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, fov: float | None = None) -> None:
        self.yaw, self.pitch, self.roll, self.fov = yaw, pitch, roll, 0.5 if fov is None else fov
        self._own = fov is not None

    def is_property_set(self, name: str) -> bool:
        assert name == "fov"
        return self._own


angles = st.floats(-1.4, 1.4)


@given(angles, angles, angles, st.floats(0.1, 2.0))
def test_the_sliders_look_as_the_command_line_does(yaw: float, pitch: float, roll: float, fov: float) -> None:
    prior = FACE.pose_prior
    ours = gather.orbit(FACE, View(yaw, pitch, roll, fov), 64, 64)
    theirs = cameras.orbit(
        FACE, 64, azimuth=prior.default_azimuth + yaw, elevation=prior.default_elevation + pitch, roll=roll, fov=fov
    )
    assert np.allclose(ours.world_from_camera, theirs.world_from_camera, atol=1e-4)
    assert np.allclose(ours.intrinsics, theirs.intrinsics, rtol=1e-6)


@pytest.mark.parametrize("pitch", [-9.0, -math.pi / 2, math.pi / 2, 9.0])
def test_the_view_stays_the_right_way_up_at_the_poles(pitch: float) -> None:
    camera = gather.orbit(SPHERE, View(0.3, pitch), 10, 10)  # raises where it is not a rotation
    down = np.array(camera.world_from_camera)[:3, 1]
    assert down[2] <= 0


@pytest.mark.parametrize(("width", "height"), [(50, 50), (100, 50), (50, 100)])
def test_the_field_of_view_is_that_of_the_shorter_side(width: int, height: int) -> None:
    (horizontal, _, x), (_, vertical, y), _ = gather.orbit(SPHERE, View(fov=0.8), width, height).intrinsics
    assert horizontal == vertical == pytest.approx(25 / math.tan(0.4))
    assert (x, y) == (width / 2, height / 2)


def test_a_view_never_touched_has_the_model_own_field_of_view() -> None:
    camera = gather.orbit(SPHERE, View(), 64, 64)
    assert 2 * math.atan(32 / camera.intrinsics[0][0]) == pytest.approx(SPHERE.pose_prior.fov)


class Settings:
    """A LatheScene without Blender."""

    def __init__(self, **values: Any) -> None:
        given = {
            "seed_a": 1, "seed_b": 2, "mix_geometry": 0.25, "mix_appearance": 0.5, "truncation": 0.7, "code": "",
            "style_layers": [False] * 32, "use_condition": False, "condition_yaw": 0.2, "condition_pitch": 0.1,
            "code_b": "", "rows": (), "directions": (),
        }  # fmt: skip
        self.latent = type("Latent", (), given | values)


def test_the_wire_gets_what_the_model_can_do_and_nothing_else() -> None:
    layers = [index in (0, 5, 31) for index in range(32)]
    settings = Settings(style_layers=layers, use_condition=True)
    told = (0.2, FACE.pose_prior.default_elevation + 0.1)
    assert gather.latent(settings, FACE) == messages.Latent(1, 2, 0.25, 0.5, 0.7, style_mix=(0, 5), condition=told)
    plain = replace(FACE, num_ws=1, num_geometry_ws=1, pose_conditioned=False, has_truncation=False)
    assert gather.latent(settings, plain) == messages.Latent(1, 2, 0.25, 0.25, 1.0)


def test_every_row_of_a_model_with_more_layers_than_switches_lies_behind_one() -> None:
    many = replace(FACE, num_ws=70)
    behind = [gather.layer_of_row(row, many) for row in range(70)]
    assert sorted(set(behind)) == list(range(32)) and behind == sorted(behind)
    assert gather.style_rows([True] * 32, many) == tuple(range(70))
    assert gather.style_rows([index == 31 for index in range(32)], many)[-1] == 69


@given(st.integers(1, 32), st.data())
def test_every_row_has_a_switch_of_its_own_while_there_are_enough(rows: int, data: st.DataObject) -> None:
    info = replace(FACE, num_ws=rows)
    chosen = data.draw(st.sets(st.integers(0, rows - 1)))
    wanted = tuple(sorted(chosen)) if rows > 1 else ()
    assert gather.style_rows([index in chosen for index in range(32)], info) == wanted
