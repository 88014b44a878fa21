"""Conversions between Blender and the wire, without Blender."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.scene import frames, png
from addon.wire.errors import CannotWrite, InvalidRequest
from addon.wire.messages import Camera

angles = st.floats(-3.1, 3.1)
lengths = st.floats(-5, 5)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    def turn(axis: int, angle: float) -> np.ndarray:
        matrix = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        matrix[i, i] = matrix[j, j] = np.cos(angle)
        matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
        return matrix

    return turn(2, z) @ turn(1, y) @ turn(0, x)


def projection(fx: float, fy: float, shift_x: float, shift_y: float, orthographic: bool = False) -> np.ndarray:
    """An OpenGL clip matrix as Blender makes them."""
    p = np.zeros((4, 4))
    p[0, 0], p[1, 1] = fx, fy
    if orthographic:
        p[0, 3], p[1, 3], p[2, 2], p[2, 3], p[3, 3] = shift_x, shift_y, -0.02, -1.0, 1.0
    else:
        p[0, 2], p[1, 2], p[2, 2], p[2, 3], p[3, 2] = shift_x, shift_y, -1.002, -0.2002, -1.0
    return p


def opengl_pixel(point: np.ndarray, world: np.ndarray, p: np.ndarray, width: int, height: int) -> np.ndarray:
    """The definition: what OpenGL does with a world point, in pixels from the top left."""
    clip = p @ np.linalg.inv(world) @ np.append(point, 1)
    x, y = clip[:2] / clip[3]
    return np.array(((x + 1) / 2 * width, (1 - y) / 2 * height))


def wire_pixel(point: np.ndarray, camera: Camera) -> np.ndarray:
    """The wire's definition."""
    seen = (np.linalg.inv(np.array(camera.world_from_camera)) @ np.append(point, 1))[:3]
    flat = seen / seen[2] if camera.projection == "perspective" else np.array((seen[0], seen[1], 1.0))
    return (np.array(camera.intrinsics) @ flat)[:2]


@given(
    x=angles, y=angles, z=angles, place=st.tuples(lengths, lengths, lengths), scale=st.floats(0.1, 10),
    fx=st.floats(0.3, 5), fy=st.floats(0.3, 5), shift=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    orthographic=st.booleans(),
)  # fmt: skip
def test_a_point_lands_on_the_same_pixel_on_both_sides(
    x: float, y: float, z: float, place: tuple[float, float, float], scale: float,
    fx: float, fy: float, shift: tuple[float, float], orthographic: bool,
) -> None:  # fmt: skip
    rigid = np.eye(4)
    rigid[:3, :3], rigid[:3, 3] = rotation(x, y, z), place
    scaled = rigid.copy()
    scaled[:3, :3] *= (scale, 2 * scale, scale / 2)
    p = projection(fx, fy, *shift, orthographic)
    camera = frames.camera_from_blender(scaled, p, 64, 48)
    assert camera.projection == ("orthographic" if orthographic else "perspective")
    point = rigid @ (0.3, -0.2, -2.0, 1.0)
    wanted = opengl_pixel(point[:3], rigid, p, 64, 48)
    assert np.allclose(wire_pixel(point[:3], camera), wanted, atol=1e-6)


@given(x=angles, y=angles, z=angles, fx=st.floats(0.3, 5), shift=st.floats(-1, 1), orthographic=st.booleans())
def test_a_camera_survives_the_way_there_and_back(
    x: float, y: float, z: float, fx: float, shift: float, orthographic: bool
) -> None:
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = rotation(x, y, z), (1, 2, 3)
    p = projection(fx, 1.3, shift, -shift, orthographic)
    camera = frames.camera_from_blender(world, p, 40, 30)
    back_world, back = frames.camera_to_blender(camera)
    assert np.allclose(back_world, world, atol=1e-9)
    rows = [0, 1, 3]
    assert np.allclose(back[rows], p[rows], atol=1e-9)
    again = frames.camera_from_blender(back_world, back, 40, 30)
    assert np.allclose(again.world_from_camera, camera.world_from_camera, atol=1e-9)
    assert np.allclose(again.intrinsics, camera.intrinsics, atol=1e-9)


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [(np.diag([-1.0, 1, 1, 1]), "mirrored"), (np.diag([0.0, 1, 1, 1]), "scale is zero"),
     (np.array([[1.0, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "sheared")],
)  # fmt: skip
def test_cameras_that_are_none_are_refused(matrix: np.ndarray, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        frames.camera_from_blender(matrix, projection(1, 1, 0, 0), 8, 8)


def test_pulling_a_camera_back_moves_nothing_in_an_orthographic_image() -> None:
    camera = frames.camera_from_blender(np.eye(4), projection(1, 1, 0, 0, True), 8, 8)
    back = frames.moved_back(camera, 5)
    assert np.allclose(wire_pixel(np.array((0.3, 0.2, 1.0)), back), wire_pixel(np.array((0.3, 0.2, 1.0)), camera))
    assert back.world_from_camera[2][3] == 5


@given(st.integers(1, 9), st.integers(1, 9))
def test_pixels_survive_the_way_there_and_back_and_the_top_row_comes_last(width: int, height: int) -> None:
    image = np.random.default_rng(0).random((height, width, 4), np.float32)
    pixels = frames.pixels_from_image(image)
    assert np.array_equal(pixels[-width * 4 :], image[0].ravel())
    assert np.array_equal(frames.image_from_pixels(pixels, width, height), image)


def test_bytes_become_fractions() -> None:
    assert frames.pixels_from_image(np.array([[[0, 51, 255, 255]]], np.uint8)).tolist() == pytest.approx([0, 0.2, 1, 1])


def test_srgb_and_linear_are_inverse_and_meet_the_standard() -> None:
    colors = np.linspace(0, 1, 101, dtype=np.float32)[:, None].repeat(4, 1)
    linear = frames.linear_from_srgb(colors)
    assert np.allclose(frames.srgb_from_linear(linear), colors, atol=1e-5)
    assert linear[50, 0] == pytest.approx(0.21404, abs=1e-4) and linear[50, 3] == colors[50, 3]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 33)])
def test_a_png_reads_back_as_it_was(shape: tuple[int, int], tmp_path: object) -> None:
    from pathlib import Path

    from PIL import Image

    image = np.random.default_rng(1).integers(0, 256, (*shape, 4), np.uint8)
    path = Path(str(tmp_path)) / "deep" / "a.png"
    png.write(path, image)
    with Image.open(path) as read:
        assert read.mode == "RGBA" and np.array_equal(np.asarray(read), image)
    assert list(path.parent.iterdir()) == [path]


def test_float_images_are_rounded_and_clipped() -> None:
    assert png.bytes_from_float(np.array([-1, 0.5, 2.0])).tolist() == [0, 128, 255]


def test_a_full_or_missing_place_is_a_sentence(tmp_path: object) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "file"
    file.write_text("")
    with pytest.raises(CannotWrite, match="Choose another folder"):
        png.write(file / "a.png", np.zeros((1, 1, 4), np.uint8))
