"""Images of a training on disk: the files to upload. Does not import bpy."""

from __future__ import annotations

from pathlib import Path

from ..field import data_sets
from ..wire import errors
from ..wire.messages import MAX_FILES

LABELS = "dataset.json"  # cameras as EG3D writes them


def files_of(folder: Path) -> list[str]:
    """Return the files of a folder that a training needs, as paths in it with forward slashes.

    These are each transforms.json and the images it names, or all images of the folder and its sub-folders with their
    dataset.json. Raises UnusableDataset, UnreadableFile.
    """
    if not folder.is_dir():
        raise errors.UnusableDataset(f"There is no folder {folder}: choose the folder that holds the images")
    try:
        if any(folder.glob(data_sets.TRANSFORMS)):
            return data_sets.files_of(folder)
        found = [
            path.relative_to(folder).as_posix()
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in data_sets.IMAGES and path.is_file()
        ]
    except OSError as error:
        raise errors.UnreadableFile(f"{folder} cannot be read: {error.strerror or error}") from error
    if not found:
        raise errors.UnusableDataset(f"{folder} holds no images: choose the folder that holds them")
    found = [LABELS, *found] if (folder / LABELS).is_file() else found
    if len(found) > MAX_FILES:
        raise errors.UnusableDataset(
            f"{len(found)} files are too many: the most is {MAX_FILES}. Leave some out, or train from the command line"
        )
    return found
