"""Checks of cameras before a fit starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from addon.wire.errors import UnusableDataset
from addon.wire.messages import MAX_NUMBER, PINHOLE, Lens
from backend.cameras import Camera

SQUARE = 2e-3  # how far from orthogonal the axes of a camera may be: some files keep 4 digits
ASPECT = 0.01  # by how much the aspect of a smaller copy of the images may differ


def flipped(pose: np.ndarray) -> np.ndarray:
    """Return a pose [..., 4] with OpenCV's camera axes from one with OpenGL's and Blender's, or the other way round."""
    return pose * np.array([1.0, -1.0, -1.0, 1.0])


def rigid(name: str, matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return a camera's pose [4, 4] without scale, and whether there was some.

    A camera's scale does not change its image (Blender's camera objects inherit it from parents), so it is removed.
    Sheared or mirrored poses are refused.

    Raises:
        UnusableDataset: not finite, not affine, mirrored or sheared.
    """
    if not np.abs(matrix).max() <= MAX_NUMBER:  # also true for NaN
        raise UnusableDataset(
            f"The pose of {name} holds numbers that are not finite or too large: its camera was not found. "
            "Take this frame out."
        )
    if not np.allclose(matrix[3], [0, 0, 0, 1], atol=1e-6):
        raise UnusableDataset(
            f"The pose of {name} is not a camera-to-world matrix: its last row is {matrix[3].tolist()}, not "
            "[0, 0, 0, 1]. Write the matrix row by row."
        )
    axes = matrix[:3, :3]
    scale = np.linalg.norm(axes, axis=0)
    if scale.min() < 1e-9 or np.linalg.det(axes / scale) < 0:
        raise UnusableDataset(
            f"The pose of {name} is mirrored or flat: remove negative or zero scale from the "
            "camera and its parents (in Blender: Apply Scale), and write it again."
        )
    unit = axes / scale
    if np.abs(unit.T @ unit - np.eye(3)).max() > SQUARE:
        raise UnusableDataset(
            f"The pose of {name} is not rigid: its axes are not at right angles. Remove uneven scale from the camera's "
            "parents (in Blender: Apply Scale), and write it again."
        )
    u, _, vt = np.linalg.svd(unit)
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = u @ vt, matrix[:3, 3]
    return found, bool(np.abs(scale - 1).max() > SQUARE)


def camera_of(
    name: str,
    world_from_camera: np.ndarray,
    intrinsics: np.ndarray,
    stated: tuple[int, int],
    size: tuple[int, int],
    turned: bool,
    lens: Lens = PINHOLE,
) -> tuple[Camera, bool]:
    """Return the camera at the size of its image file, and whether the intrinsics were scaled to that size.

    intrinsics [3, 3] belong to `stated` (width, height); size, turned: see `read_size`.

    Raises:
        UnusableDataset: the image has another shape than the camera.
    """
    if min(stated) < 1:
        raise _no_size(name, stated)
    if size != stated and turned and (size[1], size[0]) == stated:
        size = stated
    if not same_shape(size, stated):
        raise other_size(name, size, stated)
    scale = np.array([[size[0] / stated[0]], [size[1] / stated[1]], [1.0]])
    return camera_at(name, world_from_camera, intrinsics * scale, size, lens), size != stated


def same_shape(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two sizes (width, height) have the same aspect, up to rounding."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= ASPECT


def other_size(name: str, size: tuple[int, int], stated: tuple[int, int]) -> UnusableDataset:
    """Return the error for an image that its intrinsics do not fit."""
    return UnusableDataset(
        f"The image {name} has {size[0]} × {size[1]} pixels, its camera {stated[0]} × {stated[1]}: images of "
        "several sizes need intrinsics for each (w, h, fl_x … in its frame). Add them, or leave the image out."
    )


def _no_size(name: str, size: tuple[int, int]) -> UnusableDataset:
    return UnusableDataset(
        f"The camera of {name} has no size: {size[0]} × {size[1]} pixels. Correct w and h, or solve the cameras again."
    )


def camera_at(
    name: str, world_from_camera: np.ndarray, intrinsics: np.ndarray, size: tuple[int, int], lens: Lens = PINHOLE
) -> Camera:
    """Return a camera as float32 tensors.

    Raises:
        UnusableDataset: it has no size, or its focal length is not positive and finite.
    """
    if min(size) < 1:
        raise _no_size(name, size)
    fx, fy = intrinsics[0, 0], intrinsics[1, 1]
    if not (np.abs(intrinsics).max() <= MAX_NUMBER and fx > 0 and fy > 0):  # also false for NaN
        raise UnusableDataset(
            f"The focal length of {name} is {fx:g}, {fy:g} pixels: it must be more than 0. Correct fl_x, fl_y or "
            "camera_angle_x."
        )
    pose, k = (torch.tensor(matrix, dtype=torch.float32) for matrix in (world_from_camera, intrinsics))
    return Camera(pose, k, *size, lens=lens)


def enough(count: int, folder: Path) -> None:
    """Raise UnusableDataset for fewer than two images."""
    if count == 0:
        raise UnusableDataset(f"The data set {folder.name} has no images: add images and their cameras.")
    if count == 1:
        raise UnusableDataset(
            f"The data set {folder.name} has one image only: a scene needs views from several sides, 30 or more for a "
            "good one. Capture or photograph more."
        )


def common_center(world_from_camera: np.ndarray) -> np.ndarray | None:
    """Return the point [3] nearest to the optical axes of cameras [N, 4, 4]; None where they are nearly parallel."""
    positions, forward = world_from_camera[:, :3, 3], world_from_camera[:, :3, 2]
    off_axis = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    total = off_axis.sum(0)
    if len(positions) < 3 or np.linalg.cond(total) > 1e4:  # nearly parallel
        return None
    center: np.ndarray = np.linalg.solve(total, np.einsum("nij,nj->i", off_axis, positions))
    return center


def looks_away(world_from_camera: np.ndarray, points: np.ndarray | None = None) -> bool:
    """Return whether the cameras [N, 4, 4] (OpenCV axes) look away from their common center.

    The center is that of the sparse points [P, 3] where there are some, else the point nearest to all optical axes.
    Cameras with OpenCV axes in a file meant for OpenGL axes (or the other way) look straight backwards; so does a
    camera that turns on the spot in a room, so this is a warning, not an error.
    """
    if points is not None and len(points) >= FEW_POINTS:
        center = np.median(points, axis=0)
    else:
        found = common_center(world_from_camera)
        if found is None:
            return False
        center = found
    _, cosine = _towards(world_from_camera, center)
    return bool((cosine < 0).mean() > 0.9 and np.median(cosine) < -0.5)


def _towards(world_from_camera: np.ndarray, center: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each camera's distance [N] from a point, and the cosine [N] between its axis and the way there."""
    towards = center - world_from_camera[:, :3, 3]
    distance = np.linalg.norm(towards, axis=-1)
    return distance, (towards * world_from_camera[:, :3, 2]).sum(-1) / distance.clip(1e-12)


def _surrounded(world_from_camera: np.ndarray, least: float) -> tuple[float, float]:
    """Return the median distance from cameras to the place that they surround, and the cosine between their axes and
    the way there (or away from it) that 9 of 10 exceed; 0, 0 where they surround none.

    least: mean square sine between the axes and any line; 0.5 of a level ring.
    """
    center, forward = common_center(world_from_camera), world_from_camera[:, :3, 2]
    spread = np.linalg.eigvalsh(np.eye(3) - forward.T @ forward / len(forward))[0]
    if center is None or spread < least:
        return 0.0, 0.0
    distance, cosine = _towards(world_from_camera, center)
    return float(np.median(distance)), float(np.quantile(cosine * np.sign(np.median(cosine)), 0.1))


def not_inverted(poses: Sequence[np.ndarray], points: np.ndarray | None) -> None:
    """Raise UnusableDataset where poses [4, 4] are world-to-camera: inverted, they surround what they look at.

    Whether along z or against it does not matter here: axes can be flipped, too. A sparse cloud speaks for the poses,
    and so do poses that look at one place themselves. Those of a room, inverted, all look much the same way.
    """
    if points is not None and len(points) >= FEW_POINTS:
        return
    given = np.stack(poses)
    inverse_distance, inverse_cosine = _surrounded(np.linalg.inv(given), 0.1)
    distance, cosine = _surrounded(given, 0.03)
    if inverse_cosine < 0.9 or (cosine > 0.8 and distance > 0.01 * inverse_distance):
        return
    raise UnusableDataset(
        "The camera poses are world-to-camera matrices: as they stand the cameras have nothing in common to look at, "
        "inverted they surround one place. transform_matrix is camera-to-world: invert each (numpy.linalg.inv), and "
        "write the file again."
    )


FEW_POINTS = 8  # fewer sparse points do not define a center

LOOKS_AWAY = (
    "The cameras look away from their common center, as if their axes were flipped. If they should look at one thing, "
    "the poses have other axes than their format says: open the data set with flipped axes (--flip-axes: y and z of "
    "each camera negated). If you turned on the spot to take in a room, all is well."
)


def camera_warnings(poses: Sequence[np.ndarray], points: np.ndarray | None, scaled: int, resized: int) -> list[str]:
    """Return warnings for the user: flipped axes, poses with scale, images of another size than their cameras."""
    found = []
    if looks_away(np.stack(poses), points):
        found.append(LOOKS_AWAY)
    if scaled:
        found.append(f"{scaled} of {len(poses)} camera poses had a scale, which was removed.")
    if resized:
        found.append(f"{resized} of {len(poses)} images have another size than their cameras; the cameras were scaled.")
    return found
