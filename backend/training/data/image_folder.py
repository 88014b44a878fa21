"""Images and cameras for training a generator, read from a folder.

Three kinds of folder are read:

- `transforms.json`, or `transforms_train.json`, as NeRF-synthetic, nerfstudio and instant-ngp write them
  (`nerf/datasets/transforms.py`); a frame's optional `object` says which object it shows;
- `dataset.json` as EG3D writes it (github.com/NVlabs/eg3d, dataset_preprocessing): `labels`, a list of
  [file, 25 numbers], the camera to world matrix [4, 4] (OpenCV axes, world y up) and the intrinsics [3, 3] in units of
  the image's side;
- images alone, in any sub-folders: then the poses are drawn from a prior.

World of the cameras: right-handed, Z up, the object centred and inside the unit sphere. It is found from the cameras:
the centre is the point nearest to all viewing axes, and the unit sphere just fills the median image. Cameras for which
that holds already, to within 5 %, are kept as they are.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from addon.wire.errors import UnreadableFile, UnusableDataset
from addon.wire.messages import PosePrior
from meshing.images import open_image

from ...nerf.datasets import images as image_files
from ...nerf.datasets import transforms
from ...progress import Progress, silent
from .report import DataReport, duplicates
from .training_images import TrainingImages

MIN_IMAGES = 64
"""Fewer do not train a generator: the discriminator learns them by heart."""
KEPT_WORLD = 0.05
"""How far the found centre may lie from the origin, and the found radius from 1, for the world to be kept."""
SAME_POSE = 1e-4
DEFAULT_PRIOR = PosePrior(radius=3.8, fov=math.radians(30), elevation=(math.radians(-10), math.radians(45)))
"""Of images without cameras: all around, from slightly below to above."""

WORLD_FROM_EG3D = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64)
"""y up, faces +z: to Z up, faces −Y."""


@dataclass(frozen=True)
class _Listing:
    """What a folder names, before any image is read."""

    format: str
    paths: list[Path]
    poses: NDArray[np.float64] | None = None  # [n, 4, 4], OpenCV axes, world Z up
    intrinsics: NDArray[np.float64] | None = None  # [n, 3, 3], in units of the image's width and height
    objects: list[object] | None = None
    warnings: tuple[str, ...] = ()
    name: str = ""
    licence: str = ""


def read_images(
    folder: Path,
    side: int,
    needs_poses: bool = False,
    *,
    prior: PosePrior | None = None,
    background: str = "white",
    min_images: int = MIN_IMAGES,
    progress: Progress = silent,
) -> TrainingImages:
    """Read the images of a folder as squares of `side` pixels: centre crop, then the mean of the area of each pixel.

    Transparent images are put over `background` (a colour name, or #rrggbb), grey ones become RGB. Images that cannot
    be read are left out; the report says what was done. `prior`: the poses to draw from, instead of the ranges of the
    cameras.

    Raises:
        UnreadableFile: no such folder, or its list is damaged.
        UnusableDataset: fewer than `min_images` can be used; no poses where they are needed; all poses are equal.
    """
    listing = _list(folder)
    if needs_poses and listing.poses is None:
        raise UnusableDataset(
            f"The images of {folder.name} have no cameras (no transforms.json or dataset.json with labels), and this "
            "model needs them. Render a set (Make Training Set in the panel, python -m backend training-set), estimate "
            f"the cameras (python -m backend estimate-poses {folder} --like A_SET_WITH_CAMERAS), or train a model that "
            "needs none."
        )
    read = _read_all(listing, side, background, progress)
    used = np.array(read.used, np.int64)
    poses = None if listing.poses is None else listing.poses[used]
    if poses is not None and len(poses) > 1 and np.ptp(poses, axis=0).max() < SAME_POSE:
        if needs_poses:
            raise UnusableDataset(
                f"All {len(poses)} cameras of {folder.name} are the same: a model that learns shape from views needs "
                "different ones. Check the export, or remove the cameras and train a model without poses."
            )
        read.warnings.append(f"all {len(poses)} cameras are the same; they are ignored")
        poses = None
    if len(used) < min_images:
        raise UnusableDataset(_too_few(folder, len(listing.paths), len(used), min_images, read.broken))
    posed = None if poses is None or listing.intrinsics is None else _cameras(poses, listing.intrinsics[used], read)
    found_prior = prior or (DEFAULT_PRIOR if posed is None else prior_of(*posed))
    objects = None
    if listing.objects is not None:
        names = [str(listing.objects[index]) for index in used]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        objects = torch.tensor([numbers[name] for name in names])
    rgba = torch.from_numpy(np.stack(read.images)).permute(0, 3, 1, 2)
    pixels = rgba[:, :3].contiguous()
    exact, near = duplicates(pixels.permute(0, 2, 3, 1).numpy())
    report = DataReport(
        folder=folder.name,
        format=listing.format,
        named=len(listing.paths),
        sizes=read.sizes,
        side=side,
        grey=read.grey,
        transparent=read.transparent,
        broken=tuple(read.broken),
        exact_duplicates=exact,
        near_duplicates=near,
        names=tuple(listing.paths[i].relative_to(folder).as_posix() for i in read.used),
        objects=0 if objects is None else int(objects.max()) + 1,
        angles=None if posed is None else view_angles(posed[0]),
        warnings=(*listing.warnings, *read.warnings),
    )
    return TrainingImages(
        pixels,
        found_prior,
        None if posed is None else torch.from_numpy(posed[0].astype(np.float32)),
        None if posed is None else torch.from_numpy(posed[1].astype(np.float32)),
        objects,
        alpha=rgba[:, 3:].contiguous() if read.transparent else None,
        background=background,
        licence=listing.licence,
        name=listing.name or folder.name,
        report=report,
    )


def _list(folder: Path) -> _Listing:
    if not folder.is_dir():
        raise UnreadableFile(f"There is no folder {folder}.")
    if files := transforms.find(folder):
        return _list_transforms(folder, files[0])
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in image_files.EXTENSIONS and p.is_file())
    labels = folder / "dataset.json"
    if labels.is_file() and (listing := _list_eg3d(folder, labels, found)):
        return listing
    if not found:
        kinds = ", ".join(image_files.EXTENSIONS)
        raise UnusableDataset(f"The folder {folder} holds no images ({kinds}): give the folder that holds them.")
    return _Listing("images", found)


def _list_transforms(folder: Path, file: Path) -> _Listing:
    views = transforms.read_cameras(file, 1, 1)
    top = json.loads(file.read_text(encoding="utf-8-sig"))
    scale = np.array([[[1 / view.camera.width], [1 / view.camera.height], [1.0]] for view in views])
    intrinsics = np.stack([view.camera.intrinsics.double().numpy() for view in views]) * scale if views else np.empty(0)
    poses = np.stack([view.camera.world_from_camera.double().numpy() for view in views]) if views else np.empty(0)
    frames = top["frames"]
    objects = [frame["object"] for frame in frames] if frames and all("object" in frame for frame in frames) else None
    distorted = sum(not view.lens.is_pinhole for view in views)
    warnings = (f"the lens distortion of {distorted} images is ignored: undistort them first",) if distorted else ()
    paths = [_with_extension(view.image) for view in views]
    name, licence = (str(top.get(key, "")) for key in ("name", "licence"))
    return _Listing("transforms.json", paths, poses, intrinsics, objects, warnings, name, licence)


def _with_extension(path: Path) -> Path:
    """Return the file that a name without extension means, as NeRF-synthetic writes names."""
    if path.suffix.lower() in image_files.EXTENSIONS:
        return path
    return next((p for end in image_files.EXTENSIONS if (p := path.with_name(path.name + end)).is_file()), path)


def _list_eg3d(folder: Path, file: Path, found: list[Path]) -> _Listing | None:
    """Return the images with labels; None if the file has no labels."""
    try:
        labels = json.loads(file.read_text(encoding="utf-8-sig"))["labels"]
        if labels is None:
            return None
        numbers = np.array([label for _, label in labels], np.float64)
        names = [str(name).replace("\\", "/") for name, _ in labels]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableFile(
            f"dataset.json of {folder.name} is not as EG3D writes it ({error}): it needs labels, a list of "
            "[file, [25 numbers]]. Write it again."
        ) from error
    if numbers.ndim != 2 or numbers.shape[1] != 25 or not np.isfinite(numbers).all():
        raise UnusableDataset(
            f"The labels of dataset.json in {folder.name} have {numbers.shape[-1]} numbers each; cameras have 25 "
            "finite ones: the camera to world matrix and the intrinsics in units of the image's side."
        )
    poses = WORLD_FROM_EG3D @ numbers[:, :16].reshape(-1, 4, 4)
    paths = [folder / name for name in names]
    if any(".." in path.parts for path in paths):
        raise UnusableDataset(f"dataset.json of {folder.name} names files outside its folder: move them into it.")
    missing = len(set(found) - set(paths))
    warnings = (f"{missing} images of the folder are not in dataset.json and are left out",) if missing else ()
    return _Listing("dataset.json", paths, poses, numbers[:, 16:].reshape(-1, 3, 3), None, warnings)


@dataclass
class _Reading:
    """What became of the images."""

    images: list[NDArray[np.uint8]] = field(default_factory=list)  # [side, side, 4], over the background
    used: list[int] = field(default_factory=list)
    crops: list[tuple[float, float, float, float]] = field(default_factory=list)  # see _cameras
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    broken: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    grey: int = 0
    transparent: int = 0


def _read_all(listing: _Listing, side: int, background: str, progress: Progress) -> _Reading:
    read = _Reading()
    small = 0
    for index, path in enumerate(listing.paths):
        if index % 64 == 0:
            progress(index / len(listing.paths), f"Reading image {index + 1} of {len(listing.paths)}")
        try:
            with image_files.reading(path, "image"), open_image(path) as opened:
                opened.load()
                image = image_files.to_8_bit(opened)
                pixels, crop = _square(image, side, background)
        except UnreadableFile as error:
            read.broken.append((path.name, error.message))
            continue
        read.grey += image.mode in ("1", "L", "LA", "I", "F")
        read.transparent += _has_alpha(image)
        small += min(image.size) < side
        read.sizes[image.size] = read.sizes.get(image.size, 0) + 1
        read.images.append(pixels)
        read.crops.append(crop)
        read.used.append(index)
    total, used = len(listing.paths), len(read.used)
    if read.broken:
        name, reason = read.broken[0]
        read.warnings.append(
            f"{used} of {total} images used, because {total - used} cannot be read, {name} first: {reason}"
        )
    if len(read.sizes) > 1:
        read.warnings.append(f"the images have {len(read.sizes)} sizes; each is cropped to its middle and resized")
    elif any(width != height for width, height in read.sizes):
        read.warnings.append("the images are not square; each is cropped to its middle")
    if small:
        read.warnings.append(f"{small} images are smaller than {side} pixels and are enlarged, so they are blurred")
    if read.transparent:
        read.warnings.append(f"{read.transparent} images have alpha; they are put over the background")
    if read.grey:
        read.warnings.append(f"{read.grey} images are grey; they become RGB")
    return read


def _has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def _square(
    image: Image.Image, side: int, background: str
) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
    """Return the middle of an image [side, side, 4], colour over the background and opacity, and its crop: left, top,
    width, height in units of the image."""
    width, height = image.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    box = (left, top, left + edge, top + edge)
    rgba = image.convert("RGBA")
    color = Image.new("RGBA", image.size, background)
    layers = [Image.alpha_composite(color, rgba).convert("RGB"), rgba.getchannel("A")]
    method = Image.Resampling.BOX if edge >= side else Image.Resampling.BICUBIC
    resized = [x.crop(box) if edge == side else x.resize((side, side), method, box=box) for x in layers]
    return np.dstack([np.asarray(x) for x in resized]), (left / width, top / height, edge / width, edge / height)


def _too_few(folder: Path, named: int, used: int, least: int, broken: list[tuple[str, str]]) -> str:
    text = f"Only {used} images of {folder.name} can be used; training needs at least {least}, better some thousands."
    if broken:
        text += f" {named - used} of {named} cannot be read, {broken[0][0]} first: {broken[0][1]}"
    return text + " Add images, or render a set with Make Training Set."


def _cameras(
    poses: NDArray[np.float64], intrinsics: NDArray[np.float64], read: _Reading
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return poses in the world of training and intrinsics of the crops, in units of their side."""
    left, top, width, height = np.array(read.crops).T
    k = intrinsics.copy()
    k[:, 0, 2] -= left
    k[:, 1, 2] -= top
    k[:, 0] /= width[:, None]
    k[:, 1] /= height[:, None]
    center, radius = world_of(poses, k)
    if np.linalg.norm(center) / radius < KEPT_WORLD and abs(radius - 1) < KEPT_WORLD:
        return poses, k
    read.warnings.append(
        f"the cameras were moved and scaled: the object was around {center.round(3).tolist()}, radius {radius:.3g}"
    )
    placed = poses.copy()
    placed[:, :3, 3] = (poses[:, :3, 3] - center) / radius
    return placed, k


def world_of(poses: NDArray[np.float64], intrinsics: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return centre [3] and radius of the object that cameras look at.

    The centre minimises the squared distance to all viewing axes (of equal directions: the least-norm solution from the
    cameras' mean, so that it stays in front of them). The radius is that of the sphere that just fills the median
    image.
    """
    eyes, forward = poses[:, :3, 3], poses[:, :3, 2]
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    values, vectors = np.linalg.eigh(across.mean(0))
    middle = eyes.mean(0)
    right = vectors.T @ (across @ (eyes - middle)[..., None]).mean(0)[:, 0]
    well = values > 1e-4
    center = middle + vectors[:, well] @ (right[well] / values[well])
    half = np.minimum(0.5 / intrinsics[:, 0, 0], 0.5 / intrinsics[:, 1, 1])
    distance = np.linalg.norm(eyes - center, axis=1)
    radius = float(np.median(distance * np.sin(np.arctan(half))))
    return center, max(radius, 1e-9)


def view_angles(poses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return azimuth and elevation [n, 2], radians, of cameras that look at the origin; azimuth 0 sees the front."""
    eyes = poses[:, :3, 3]
    level = np.linalg.norm(eyes[:, :2], axis=1)
    return np.stack([np.arctan2(eyes[:, 0], -eyes[:, 1]), np.arctan2(eyes[:, 2], level)], -1)


def prior_of(poses: NDArray[np.float64], intrinsics: NDArray[np.float64]) -> PosePrior:
    """Return the ranges of cameras: median radius and field of view; all azimuths unless a gap is wider than 60°."""
    azimuth, elevation = view_angles(poses).T
    ordered = np.sort(azimuth)
    gaps = np.diff(ordered, append=ordered[0] + 2 * math.pi)
    widest = int(gaps.argmax())
    around = (-math.pi, math.pi)
    if gaps[widest] > math.radians(60):
        start = float(ordered[(widest + 1) % len(ordered)])
        end = start + 2 * math.pi - float(gaps[widest])
        around = (start, end) if end <= math.pi else (start - 2 * math.pi, end - 2 * math.pi)
        if around[0] < -math.pi and around[1] < 0:
            around = (start, end)
    low, high = float(elevation.min()), float(elevation.max())
    return PosePrior(
        radius=float(np.median(np.linalg.norm(poses[:, :3, 3], axis=1))),
        fov=float(2 * np.arctan(0.5 / np.median(intrinsics[:, 1, 1]))),
        azimuth=around,
        elevation=(low, high),
        default_azimuth=0.0 if around[0] <= 0 <= around[1] else (around[0] + around[1]) / 2,
        default_elevation=min(max(math.radians(15), low), high),
    )
