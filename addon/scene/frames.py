"""Conversions between Blender's conventions and the wire's, in pairs. numpy only; docs/frames.md has drawings.

Blender: cameras look along −Z with +Y up; image rows run from bottom to top; scene colours are linear; the length of
a unit is a setting of the scene. The wire: OpenCV cameras (+Z forward, +Y down), top row first, sRGB images. Both
worlds are right-handed with Z up, so points and object matrices pass unchanged.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..wire.errors import InvalidRequest
from ..wire.messages import Camera, Matrix4

CAMERA_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""blender_camera_from_opencv_camera, and its own inverse."""


def matrix4(matrix: Any) -> Matrix4:
    """Return any 4×4 as the wire's rows of floats, with an exact last row where it is one up to rounding."""
    rows = np.array(matrix, np.float64)
    if np.abs(rows[3] - (0, 0, 0, 1)).max() < 1e-6:
        rows[3] = 0, 0, 0, 1
    return tuple(tuple(float(value) for value in row) for row in rows)  # type: ignore[return-value]


def camera_from_blender(matrix_world: Any, projection: Any, width: int, height: int) -> Camera:
    """Return the wire camera of a Blender camera or view.

    matrix_world: [4, 4] of the camera object, or the inverse of a view matrix. Its scale is ignored, as in Blender.
    projection: [4, 4] OpenGL clip matrix (`Object.calc_matrix_camera`, `RegionView3D.window_matrix`), which holds focal
        length, sensor fit, shift and pixel aspect; perspective or orthographic.

    Raises:
        InvalidRequest: a sheared, mirrored or flattened camera, which the wire cannot express.
    """
    world = np.array(matrix_world, np.float64)
    lengths = np.linalg.norm(world[:3, :3], axis=0)
    if lengths.min() < 1e-12:
        raise InvalidRequest("The camera's scale is zero: apply a scale of 1")
    world[:3, :3] /= lengths
    rotation = world[:3, :3]
    if np.linalg.det(rotation) < 0 or np.abs(rotation.T @ rotation - np.eye(3)).max() > 1e-3:
        raise InvalidRequest(
            "The camera is mirrored or sheared by its parents: clear the parent, keeping the transform"
        )
    u, _, vt = np.linalg.svd(rotation)
    world[:3, :3] = u @ vt
    p = np.array(projection, np.float64)
    if abs(p[3, 2] + 1) < 1e-6 and abs(p[3, 3]) < 1e-6:
        kind: Literal["perspective", "orthographic"] = "perspective"
        # x_clip / w_clip = (p00 x + p02 z) / −z, in OpenCV axes p00 X/Z − p02
        centre_x, centre_y = width / 2 * (1 - p[0, 2]), height / 2 * (1 + p[1, 2])
    else:
        kind = "orthographic"
        centre_x, centre_y = width / 2 * (1 + p[0, 3]), height / 2 * (1 - p[1, 3])
    intrinsics = ((width / 2 * p[0, 0], 0.0, centre_x), (0.0, height / 2 * p[1, 1], centre_y), (0.0, 0.0, 1.0))
    return Camera(
        matrix4(world @ CAMERA_FLIP),
        tuple(tuple(float(value) for value in row) for row in intrinsics),  # type: ignore[arg-type]
        width,
        height,
        kind,
    )


def camera_to_blender(camera: Camera, near: float = 0.1, far: float = 1000.0) -> tuple[np.ndarray, np.ndarray]:
    """Return (matrix_world [4, 4], projection [4, 4]) of a wire camera: the inverse of `camera_from_blender`."""
    world = np.array(camera.world_from_camera) @ CAMERA_FLIP
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics
    x, y = 2 * cx / camera.width - 1, 1 - 2 * cy / camera.height
    p = np.zeros((4, 4))
    p[0, 0], p[1, 1] = 2 * fx / camera.width, 2 * fy / camera.height
    if camera.projection == "perspective":
        p[0, 2], p[1, 2] = -x, -y
        p[2, 2], p[2, 3], p[3, 2] = (far + near) / (near - far), 2 * far * near / (near - far), -1.0
    else:
        p[0, 3], p[1, 3] = x, y
        p[2, 2], p[2, 3], p[3, 3] = 2 / (near - far), (far + near) / (near - far), 1.0
    return world, p


def moved_back(camera: Camera, distance: float) -> Camera:
    """Return the camera moved back along its view axis, so that an orthographic view includes what was behind it."""
    world = np.array(camera.world_from_camera)
    world[:3, 3] -= world[:3, 2] * distance
    return Camera(matrix4(world), camera.intrinsics, camera.width, camera.height, camera.projection)


def pixels_from_image(image: np.ndarray) -> np.ndarray:
    """Return Blender's flat float32 pixels, bottom row first, of an image [H, W, 4], float 0..1 or uint8."""
    flipped = image[::-1]
    if image.dtype == np.uint8:
        return np.multiply(flipped, np.float32(1 / 255), dtype=np.float32).ravel()
    return np.ascontiguousarray(flipped, np.float32).ravel()


def image_from_pixels(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return the image float32 [H, W, 4], top row first, of Blender's flat pixels: the inverse of the above."""
    return np.ascontiguousarray(pixels.reshape(height, width, 4)[::-1], np.float32)


def linear_from_srgb(color: np.ndarray) -> np.ndarray:
    """Return scene-linear colours [..., 3 or 4] of sRGB ones (IEC 61966-2-1); alpha passes."""
    out = np.array(color, np.float32)
    rgb = out[..., :3]
    rgb[...] = np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4)
    return out


def srgb_from_linear(color: np.ndarray) -> np.ndarray:
    """Return sRGB colours [..., 3 or 4] of scene-linear ones; alpha passes."""
    out = np.array(color, np.float32)
    rgb = out[..., :3]
    rgb[...] = np.where(rgb <= 0.0031308, rgb * 12.92, 1.055 * np.maximum(rgb, 0) ** (1 / 2.4) - 0.055)
    return out
