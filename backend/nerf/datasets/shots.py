"""Shots: what every format's reader gives, and the data set that is made of them.

A reader parses cameras in float64, in the file's own frame. Everything that holds for all formats is done here: files
are found, poses checked, cameras brought to the size of their images, coordinates far from the origin moved near it
before they become float32, and what cannot be used is left out with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from addon.wire.errors import UnreadableFile
from addon.wire.messages import PINHOLE, Bounds, Lens, Row3
from meshing.images import NotAFile
from meshing.offset import offset_of, shown

from . import checks
from .images import EXTENSIONS, read_size
from .views import Dataset, Split, View, with_splits

Size = tuple[int, int]
"""Width and height, pixels."""


@dataclass(frozen=True)
class Shot:
    """One image and its camera, as a file gives them."""

    name: str
    image: Path  # may differ from the file in upper and lower case, and lack the extension
    world_from_camera: np.ndarray  # [4, 4] float64, OpenCV axes, not yet checked
    intrinsics: Callable[[Size], np.ndarray]  # [3, 3] for images of a size
    size: Size | None = None  # that the camera was measured at; None: as the image is
    lens: Lens = PINHOLE
    split: Split = "train"
    mask: Path | None = None
    mask_keeps: Literal["white", "black"] = "white"
    depth: Path | None = None
    depth_scale: float = 1.0


def fixed(intrinsics: np.ndarray) -> Callable[[Size], np.ndarray]:
    """Return intrinsics [3, 3] that do not depend on the image's size."""
    return lambda size: intrinsics


def with_flipped_axes(shots: Sequence[Shot]) -> list[Shot]:
    """Return shots with y and z of each camera negated."""
    return [replace(shot, world_from_camera=checks.flipped(shot.world_from_camera)) for shot in shots]


def dataset_of(
    folder: Path,
    kind: str,
    shots: Sequence[Shot],
    *,
    points: np.ndarray | None = None,
    colors: np.ndarray | None = None,
    bounds: Bounds | None = None,
    warnings: Sequence[str] = (),
    hold_back: bool = False,
) -> Dataset:
    """Return the data set of shots. points [P, 3] and bounds: in the same frame. hold_back: see `with_splits`.

    Raises:
        UnreadableFile: no image of the training views, or of all, is there.
        UnusableDataset: too few images, an invalid pose, or images whose shape is not that of their cameras.
    """
    checks.enough(len(shots), folder)
    found: list[tuple[Shot, Path, Size, bool]] = []
    lost: list[tuple[Shot, UnreadableFile]] = []
    poses: list[np.ndarray] = []
    scaled = resized = 0
    for shot in shots:
        pose, had_scale = checks.rigid(shot.name, shot.world_from_camera)
        path = find_image(shot.image)
        try:
            size, turned = read_size(path)
        except UnreadableFile as error:
            if isinstance(error.__cause__, NotAFile):  # nobody puts a pipe there by accident
                raise
            lost.append((shot, error))
            continue
        found.append((shot, path, size, turned))
        poses.append(pose)
        scaled += had_scale
    training = any(shot.split == "train" for shot in shots)
    if lost and (len(found) < 2 or (training and all(shot.split != "train" for shot, *_ in found))):
        raise lost[0][1]
    offset = offset_of(np.stack(poses)[:, :3, 3])
    views: list[View] = []
    for index, ((shot, path, size, turned), pose) in enumerate(zip(found, poses, strict=True)):
        stated = shot.size or size
        camera, was_resized = checks.camera_of(
            shot.name, moved(pose, offset), shot.intrinsics(stated), stated, size, turned, shot.lens
        )
        resized += was_resized
        views.append(
            View(
                shot.name, camera, path, shot.split, shot.mask, shot.mask_keeps, shot.depth, shot.depth_scale,
                appearance=index,
            )
        )  # fmt: skip
    near = [moved(pose, offset) for pose in poses]
    cloud = None if points is None else (points - np.array(offset)).astype(np.float32)
    if bounds is not None and any(offset):
        bounds = tuple(tuple(float(x) for x in np.array(corner) - offset) for corner in bounds)  # type: ignore[assignment]
    checks.not_inverted(near, cloud)
    said = [*warnings, *_left_out(shots, lost), *checks.camera_warnings(near, cloud, scaled, resized)]
    if any(offset):
        said.append(
            f"The coordinates lie far from the origin: {shown(offset)} was taken off them. It is kept with the "
            "scene, and added again to the cameras that --poses-out writes."
        )
    return Dataset(
        folder, kind, with_splits(views) if hold_back else tuple(views), cloud, colors, bounds, tuple(said), offset
    )


def find_image(path: Path) -> Path:
    """Return the image that a name means: as it stands, with an extension (NeRF-synthetic files leave it out), or the
    one file that differs in upper and lower case alone. The path itself where there is none."""
    if path.is_file():
        return path
    ends = [end for extension in EXTENSIONS for end in (extension, extension.upper())]
    for candidate in (path.with_name(path.name + end) for end in ends):
        if candidate.is_file():
            return candidate
    return _in_other_case(path) or path


def _in_other_case(path: Path) -> Path | None:
    parent = path.parent if path.parent.is_dir() else _in_other_case(path.parent)
    if parent is None or not parent.is_dir():
        return None
    alike = [other for other in parent.iterdir() if other.name.casefold() == path.name.casefold()]
    return alike[0] if len(alike) == 1 else None


def moved(pose: np.ndarray, offset: Row3, sign: float = -1.0) -> np.ndarray:
    """Return a pose [4, 4] with an offset taken off its position, or with `sign` 1 added to it."""
    result = pose.copy()
    result[:3, 3] += sign * np.array(offset)
    return result


def _left_out(shots: Sequence[Shot], lost: Sequence[tuple[Shot, UnreadableFile]]) -> list[str]:
    """Return a warning for each split with images that are missing or damaged."""
    found = []
    for split in dict.fromkeys(shot.split for shot, _ in lost):
        mine = [(shot, error) for shot, error in lost if shot.split == split]
        total = sum(shot.split == split for shot in shots)
        word = {"train": "", "val": "validation ", "test": "test "}[split]
        names = ", ".join(shot.name for shot, _ in mine[:3]) + (" …" if len(mine) > 3 else "")
        found.append(
            f"{total - len(mine)} of {total} {word}views are used, because the images of the others are missing or "
            f"damaged ({names}). {mine[0][1].message}"
        )
    return found
