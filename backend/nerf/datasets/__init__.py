"""Reading of images with cameras from a folder, in the usual formats. docs/datasets.md is the page for users."""

from __future__ import annotations

import re
from pathlib import Path

from addon.wire.errors import Remedy, UnreadableFile, UnusableDataset

from ...lens import Lens, camera_directions
from . import colmap, phones, photogrammetry, transforms
from .images import EXTENSIONS
from .transforms import read_cameras, write_transforms
from .views import Dataset, Pixels, Split, View, with_splits

__all__ = [
    "Dataset",
    "Lens",
    "Pixels",
    "Split",
    "View",
    "camera_directions",
    "open_dataset",
    "photographs",
    "read_cameras",
    "with_splits",
    "write_transforms",
]

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


NOT_PHOTOGRAPHS = re.compile(r"(masks?|depths?|depth_maps?|normals?|semantics?|segmentations?|images?_\d+|\..*)", re.I)
"""Names of folders in which data sets keep other images, or downscaled copies."""


def photographs(folder: Path) -> list[Path]:
    """Return the image files of a folder and of those below it, by name; masks, depth and copies are not among them."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.rglob("*"):
        *folders, name = path.relative_to(folder).parts
        if path.suffix.lower() not in EXTENSIONS or name.startswith((".", "dynamic_mask_")) or not path.is_file():
            continue
        if not any(NOT_PHOTOGRAPHS.fullmatch(part) for part in folders):
            found.append(path)
    return sorted(found)


def open_dataset(folder: Path, *, flip_axes: bool = False) -> Dataset:
    """Open a folder (or a transforms file in it): transforms.json in its three dialects, a COLMAP model, a capture of
    Polycam or Record3D, or cameras that Metashape or RealityCapture exported.

    Reads cameras and the headers of images; the pixels come with `Dataset.load`. World is the files' own frame.
    `flip_axes` negates y and z of every camera, for files whose cameras have other axes than their format says.

    Raises:
        UnreadableFile: a file is missing, damaged or names something outside the folder.
        UnusableDataset: nothing to fit to: no images, photographs without cameras, invalid poses.
    """
    if folder.suffix.lower() == ".json" and folder.is_file():
        return transforms.read(folder.parent, [folder], flip_axes=flip_axes)
    if not folder.is_dir():
        if folder.suffix.lower() in VIDEOS and folder.is_file():
            raise _no_cameras(f"{folder.name} is a video")
        raise UnreadableFile(f"There is no folder {folder}: give the folder that holds the data set.")
    if files := transforms.find(folder):
        return transforms.read(folder, files, flip_axes=flip_axes)
    if models := colmap.find(folder):
        return colmap.read(folder, models, flip_axes=flip_axes)
    if capture := phones.find(folder):
        return phones.read(folder, capture, flip_axes=flip_axes)
    found = photographs(folder)
    if exported := photogrammetry.find(folder):
        return photogrammetry.read(folder, exported, found, flip_axes=flip_axes)
    if found:
        raise _no_cameras(f"The folder {folder.name} holds {len(found)} photographs")
    empty = "is empty" if not any(folder.iterdir()) else "holds no data set"
    raise UnusableDataset(
        f"The folder {folder.name} {empty}: it needs transforms.json, a COLMAP model, or cameras of Metashape, "
        "RealityCapture, Polycam or Record3D, each with its images; or photographs to find cameras for."
    )


def _no_cameras(what: str) -> UnusableDataset:
    return UnusableDataset(
        f"{what} but no cameras: find the cameras first (Find Cameras in the panel, or python -m backend sfm PHOTOS "
        "--out DATASET).",
        remedy=Remedy("run_sfm", "Find Cameras"),
    )
