"""Data sets: images, each with its camera.

Vocabulary: a *view* is one image with its camera; *split* says whether a fit trains on it ("train") or is evaluated on
it ("val", "test"). World is the data set's own frame, as its files give it, less `Dataset.offset`: nothing is centred
or scaled here, unless float32 could not hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from addon.wire.errors import Remedy, UnusableDataset
from addon.wire.messages import Bounds, Row3
from backend.cameras import Camera
from backend.lens import Lens, valid_pixels
from backend.progress import Progress, silent

from . import images
from .checks import same_shape

Split = Literal["train", "val", "test"]

HOLD_EVERY = 8  # of a data set without splits every 8th view is held out (LLFF's and nerfstudio's convention)


@dataclass(frozen=True)
class View:
    """One image and its camera."""

    name: str  # the file's path as the data set gives it
    camera: Camera  # float32 on the CPU; width and height are those of the image
    image: Path
    split: Split = "train"
    mask: Path | None = None
    mask_keeps: Literal["white", "black"] = "white"  # black: pixels that are not 0 are ignored
    depth: Path | None = None
    depth_scale: float = 1.0  # metres along the camera's z for each stored unit
    appearance: int = 0  # index of this view, of parameters that are learnt for each image

    @property
    def lens(self) -> Lens:
        """Lens of the camera."""
        return self.camera.lens


@dataclass(frozen=True)
class Pixels:
    """Pixels of one view, top row first."""

    rgb: np.ndarray  # uint8 [H, W, 3], sRGB, alpha straight
    alpha: np.ndarray | None = None  # uint8 [H, W]
    mask: np.ndarray | None = None  # bool [H, W]: True = use this pixel
    depth: np.ndarray | None = None  # float32 [H, W], metres along z, NaN where not known

    @property
    def has_alpha(self) -> bool:
        """True where alpha holds information: an image that is opaque everywhere has none."""
        return self.alpha is not None and bool(self.alpha.min() < 255)


@dataclass(frozen=True)
class Dataset:
    """Views, and the sparse cloud and bounds of the files, if any."""

    folder: Path
    format: str  # as "nerfstudio" or "colmap"
    views: tuple[View, ...]
    points: np.ndarray | None = None  # [N, 3] world: a sparse cloud
    point_colors: np.ndarray | None = None  # uint8 [N, 3] sRGB
    bounds: Bounds | None = None  # of the object, where the data set says so
    warnings: tuple[str, ...] = ()  # sentences for the user
    offset: Row3 = (0.0, 0.0, 0.0)  # what was taken off the coordinates of the files, which lie far from the origin

    def split(self, name: Split) -> tuple[View, ...]:
        """Return the views of a split. "test" and "val" stand in for each other where only one exists."""
        views = tuple(view for view in self.views if view.split == name)
        if views or name == "train":
            return views
        return tuple(view for view in self.views if view.split != "train")

    def to_fit(self) -> tuple[View, ...]:
        """Return the training views. Raises UnusableDataset where there are none."""
        views = self.split("train")
        if not views:
            raise UnusableDataset(
                f"The data set {self.folder.name} has no training views, only {len(self.views)} held out for "
                "evaluation: add transforms_train.json, or name images in train_filenames of transforms.json."
            )
        return views

    def without_masks(self) -> Dataset:
        """Return the data set without its mask files."""
        return replace(self, views=tuple(replace(view, mask=None) for view in self.views))

    def without_depth(self) -> Dataset:
        """Return the data set without its depth images, for what does not use them."""
        return replace(self, views=tuple(replace(view, depth=None) for view in self.views))

    def load(self, view: View) -> Pixels:
        """Read a view's image, mask and depth.

        Raises:
            UnreadableFile: a file is missing, damaged or not an image.
            UnusableDataset: a mask or depth image has another shape than the image.
        """
        rgb, alpha = images.read_rgb(view.image, view.camera.width, view.camera.height)
        size = (rgb.shape[0], rgb.shape[1])
        mask = None if view.mask is None else images.read_mask(view.mask, keeps=view.mask_keeps)
        depth = None if view.depth is None else images.read_depth(view.depth, scale=view.depth_scale)
        mask, depth = (None if array is None else _at_size(array, size) for array in (mask, depth))
        for what, path, array in (("mask", view.mask, mask), ("depth image", view.depth, depth)):
            if array is not None and array.shape != size:
                raise UnusableDataset(
                    f"The {what} {path and path.name} has {array.shape[1]} × {array.shape[0]} pixels, its image "
                    f"{view.name} {size[1]} × {size[0]}: make the {what} again at the image's size, or remove it.",
                    remedy=Remedy("ignore_masks", "Fit without masks") if what == "mask" else None,
                )
        seen = valid_pixels(view.camera)
        if seen is not None:
            mask = seen.numpy() if mask is None else mask & seen.numpy()
        return Pixels(rgb, alpha, mask, depth)

    def load_all(self, views: Sequence[View], progress: Progress = silent) -> tuple[Pixels, ...]:
        """Read several views and check that they are not all black or masked.

        Raises:
            UnreadableFile, UnusableDataset: as `load`; also when all are black, or fully masked.
        """
        found = []
        for index, view in enumerate(views):
            progress(index / len(views), f"Reading image {index + 1} of {len(views)}")
            found.append(self.load(view))
        if found and all(pixels.mask is not None and not pixels.mask.any() for pixels in found):
            raise UnusableDataset(
                "The masks leave no pixel of any image: they may have the opposite polarity (in mask_path white "
                "is kept, in dynamic_mask_*.png black). Invert them, or fit without masks.",
                remedy=Remedy("ignore_masks", "Fit without masks"),
            )
        if found and all(_black(pixels) for pixels in found):
            raise UnusableDataset(
                f"All {len(found)} images are black or fully transparent: render them again with light in the scene, "
                "or check that they are 8-bit sRGB files."
            )
        return tuple(found)


def _at_size(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask or depth image [h, w] at another size (height, width) of the same shape, by the nearest pixel, so
    that nothing is blended with what was not measured; as it is if the shape is another."""
    if array.shape == size or array.ndim != 2 or not array.size:
        return array
    if not same_shape((array.shape[0], array.shape[1]), size):
        return array
    rows, columns = ((np.arange(to) + 0.5) * have / to for to, have in zip(size, array.shape, strict=True))
    return array[rows.astype(int)[:, None], columns.astype(int)]


def _black(pixels: Pixels) -> bool:
    """Return whether no visible pixel is brighter than 2/255."""
    seen = pixels.rgb if pixels.alpha is None else pixels.rgb[pixels.alpha > 2]
    return seen.size == 0 or int(seen.max()) <= 2


def with_splits(views: Sequence[View]) -> tuple[View, ...]:
    """Hold back every 8th view for "test" where the files name no split; all are "train" of fewer than 8."""
    if len(views) < HOLD_EVERY or any(view.split != "train" for view in views):
        return tuple(views)
    return tuple(replace(view, split="train" if index % HOLD_EVERY else "test") for index, view in enumerate(views))
