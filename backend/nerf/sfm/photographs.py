"""Photographs or frames of a video, copied for the solver: upright, not too large, with their sharpness."""

from __future__ import annotations

import os
import shutil
from itertools import count
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageOps

from addon.wire.errors import UnreadableFile, UnusableDataset
from meshing.images import open_image

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


def copy_photographs(source: Path, images: Path, options: SfmOptions, progress: Progress) -> dict[str, float]:
    """Copy a folder's photographs upright and not too large; return name -> sharpness.

    Photographs of one size and focal length share a camera: each such group gets a folder of its own where there are
    several.

    Raises:
        UnusableDataset: too few photographs.
        UnreadableFile: a photograph is damaged.
    """
    paths = datasets.photographs(source)
    if not paths:
        heic = source.is_dir() and any(path.suffix.lower() in HEIC for path in source.iterdir())
        why = "holds HEIC files, which are not read: save them as JPEG." if heic else f"holds no photographs. {WANTED}"
        raise UnusableDataset(f"The folder {source.name} {why}")
    if len(paths) > options.max_images:
        paths = [paths[round(i)] for i in np.linspace(0, len(paths) - 1, options.max_images)]
    if len(paths) < MIN_IMAGES:
        raise UnusableDataset(
            f"{len(paths)} photographs are too few to find cameras: take 30 or more round the object, each overlapping "
            "the one before by two thirds."
        )
    prepared: list[tuple[str, tuple[tuple[int, int], str], float]] = []  # name, (size, focal length), sharpness
    taken: set[str] = set()
    for index, path in enumerate(paths):
        progress(index / len(paths), f"Reading photograph {index + 1} of {len(paths)}")
        with reading(path, "photograph"), open_image(path) as opened:
            opened.load()
            exif = opened.getexif()
            details = exif.get_ifd(EXIF_DETAILS)
            focal = str(details.get(FOCAL_35MM) or details.get(FOCAL))
            image = to_8_bit(ImageOps.exif_transpose(opened))
            if image.mode not in ("RGB", "RGBA", "L"):
                image = image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB")
            image.thumbnail((options.max_size, options.max_size), Image.Resampling.LANCZOS)
            same = (opened.mode, opened.size) == (image.mode, image.size) and exif.get(ORIENTATION, 1) == 1
        same = same and path.suffix.lower() in (".jpg", ".jpeg", ".png")
        suffix = path.suffix if same else ".png" if image.mode == "RGBA" else ".jpg"
        name = next(n for k in count() if (n := f"{path.stem}{f'_{k}' if k else ''}{suffix}").lower() not in taken)
        taken.add(name.lower())
        if same:
            shutil.copyfile(path, images / name)
        else:
            image.save(images / name, quality=95, exif=image.getexif())
        prepared.append((name, (image.size, focal), sharpness_of(image)))
    groups = list(dict.fromkeys(group for _, group, _ in prepared))
    if len(groups) == 1:
        return {name: sharp for name, _, sharp in prepared}
    found = {}
    for name, group, sharp in prepared:
        camera = f"camera_{groups.index(group) + 1}"
        (images / camera).mkdir(exist_ok=True)
        os.replace(images / name, images / camera / name)
        found[f"{camera}/{name}"] = sharp
    return found


def sample_frames(source: Path, images: Path, options: SfmOptions, progress: Progress) -> dict[str, float]:
    """Save the sharpest frame of each of `max_images` equal stretches of a video; return name -> sharpness.

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
        with av.open(str(source)) as container:
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
    except (av.FFmpegError, IndexError) as error:
        raise UnreadableFile(
            f"{source.name} cannot be read as a video ({error}): give a folder of photographs, or one of "
            f"{', '.join(VIDEOS)} files."
        ) from error
    if len(found) < MIN_IMAGES:
        raise UnusableDataset(f"The video {source.name} has {len(found)} usable frames: film at least some seconds.")
    return found
