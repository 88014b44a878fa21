"""Photographs or frames of a video, copied for the solver: upright, not too large, with their sharpness."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from addon.wire.errors import UnreadableFile, UnusableDataset
from meshing.images import NotAnImage, open_image, open_regular

from ...progress import Progress
from .. import datasets
from ..datasets import VIDEOS
from ..datasets.images import ORIENTATION, reading, to_8_bit
from .options import MIN_IMAGES, SfmOptions

HEIC = (".heic", ".heif")
WANTED = "Give a folder of JPEG or PNG files, 30 or more taken round the object, or a video."
SHORTEST_STRETCH = 0.2  # seconds of a video: frames nearer to each other show the same
UNKNOWN_STRETCH = 0.5  # seconds, of a video without a stated duration

EXIF_DETAILS, FOCAL, FOCAL_35MM = 0x8769, 0x920A, 0xA405  # EXIF tags


def sharpness_of(image: Image.Image) -> float:
    """Return the variance of the Laplacian of grey values 0..255 at 512 pixels: small where nothing is sharp."""
    grey = image.convert("L")
    grey.thumbnail((512, 512))
    x = np.asarray(grey, dtype=np.float32)
    if min(x.shape) < 3:
        return 0.0
    laplacian = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1]
    return float(laplacian.var())


@dataclass(frozen=True)
class Gathered:
    """Images for the solver: name -> sharpness, and sentences on what was left out."""

    sharpness: dict[str, float]
    warnings: tuple[str, ...] = ()


def copy_photographs(source: Path, images: Path, options: SfmOptions, progress: Progress) -> Gathered:
    """Copy the photographs of a folder and of those below it, upright and not too large.

    Photographs of one folder, size and focal length share a camera: each such group gets a folder of its own where
    there are several.

    Raises:
        UnusableDataset: too few photographs.
        UnreadableFile: a photograph is damaged, and too few others are left.
    """
    paths = datasets.photographs(source)
    total, warnings = len(paths), []
    heic = sum(path.suffix.lower() in HEIC for path in source.rglob("*")) if source.is_dir() else 0
    if not paths:
        why = "holds HEIC files, which are not read: save them as JPEG." if heic else f"holds no photographs. {WANTED}"
        raise UnusableDataset(f"The folder {source.name} {why}")
    if heic:
        warnings.append(
            f"{total} of {total + heic} photographs are used: {heic} are HEIC files, which are not read. Save those as "
            "JPEG."
        )
    if len(paths) > options.max_images:
        paths = [paths[round(i)] for i in np.linspace(0, len(paths) - 1, options.max_images)]
        warnings.append(f"{len(paths)} of {total} photographs are used, taken evenly: --max-images is the most.")
    if len(paths) < MIN_IMAGES:
        raise UnusableDataset(
            f"{len(paths)} photographs are too few to find cameras: take 30 or more round the object, each overlapping "
            "the one before by two thirds."
        )
    prepared: list[tuple[str, tuple[Path, tuple[int, int], str], float]] = []  # name, (folder, size, focal), sharpness
    taken: set[str] = set()
    damaged: list[UnreadableFile] = []
    for index, path in enumerate(paths):
        progress(index / len(paths), f"Reading photograph {index + 1} of {len(paths)}")
        try:
            with reading(path, "photograph"), open_image(path) as opened:
                stored = opened.size
                if min(stored) >= 2 * options.max_size:  # a JPEG is decoded at a fraction of its size
                    opened.draft("RGB", (options.max_size, options.max_size))
                opened.load()
                exif = opened.getexif()
                details = exif.get_ifd(EXIF_DETAILS)
                focal = str(details.get(FOCAL_35MM) or details.get(FOCAL))
                upright = exif.get(ORIENTATION, 1) == 1
                image = to_8_bit(opened.copy() if upright else ImageOps.exif_transpose(opened))
        except UnreadableFile as error:
            damaged.append(error)
            continue
        if image.mode not in ("RGB", "RGBA", "L"):
            image = image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB")
        image.thumbnail((options.max_size, options.max_size), Image.Resampling.LANCZOS)
        same = upright and (opened.mode, stored) == (image.mode, image.size)
        same = same and path.suffix.lower() in (".jpg", ".jpeg", ".png")
        suffix = path.suffix if same else ".png" if image.mode == "RGBA" else ".jpg"
        name = next(n for k in count() if (n := f"{path.stem}{f'_{k}' if k else ''}{suffix}").lower() not in taken)
        taken.add(name.lower())
        if same:
            shutil.copyfile(path, images / name)
        else:
            image.save(images / name, quality=95, exif=image.getexif())
        prepared.append((name, (path.parent, image.size, focal), sharpness_of(image)))
    if damaged:
        if len(prepared) < MIN_IMAGES:
            raise damaged[0]
        warnings.append(
            f"{len(prepared)} of {len(paths)} photographs are used: the others cannot be read. {damaged[0].message}"
        )
    groups = list(dict.fromkeys(group for _, group, _ in prepared))
    if len(groups) == 1:
        return Gathered({name: sharp for name, _, sharp in prepared}, tuple(warnings))
    found = {}
    for name, group, sharp in prepared:
        camera = f"camera_{groups.index(group) + 1}"
        (images / camera).mkdir(exist_ok=True)
        os.replace(images / name, images / camera / name)
        found[f"{camera}/{name}"] = sharp
    return Gathered(found, tuple(warnings))


def sample_frames(source: Path, images: Path, options: SfmOptions, progress: Progress) -> Gathered:
    """Save the sharpest frame of each of `max_images` equal stretches of a video.

    Raises:
        UnusableDataset: too few frames.
        UnreadableFile: not a video.
    """
    found: dict[str, float] = {}
    best: tuple[float, Image.Image] | None = None
    window = 0

    def keep() -> None:
        if best is not None:
            name = f"frame_{len(found):04d}.jpg"
            best[1].save(images / name, quality=95)
            found[name] = best[0]

    try:
        with open_regular(source) as file, av.open(file) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            duration = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            duration = duration or (container.duration or 0) / av.time_base
            stretch = max(duration / options.max_images, SHORTEST_STRETCH) if duration else UNKNOWN_STRETCH
            for frame in container.decode(stream):
                seconds = frame.time or 0.0
                if int(seconds / stretch) != window:
                    keep()
                    best, window = None, int(seconds / stretch)
                if len(found) == options.max_images:
                    break
                progress(min(seconds / duration, 1.0) if duration else 0.0, f"Choosing frames: {len(found)}")
                image = frame.to_image().rotate(getattr(frame, "rotation", 0), expand=True)
                image.thumbnail((options.max_size, options.max_size), Image.Resampling.BICUBIC)
                sharp = sharpness_of(image)
                if best is None or sharp > best[0]:
                    best = (sharp, image)
            keep()
    except (av.FFmpegError, IndexError, NotAnImage) as error:
        raise UnreadableFile(
            f"{source.name} cannot be read as a video ({error}): give a folder of photographs, or one of "
            f"{', '.join(VIDEOS)} files."
        ) from error
    if len(found) < MIN_IMAGES:
        raise UnusableDataset(f"The video {source.name} has {len(found)} usable frames: film at least some seconds.")
    return Gathered(found)
