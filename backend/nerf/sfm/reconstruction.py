"""Photographs or a video to cameras: structure from motion by COLMAP (pycolmap), on the CPU.

    reconstruct(source, out, options, progress) -> Reconstruction

finds the cameras of a folder of photographs, or of the sharpest frames of a video, and writes a standard data set to
`out`: transforms.json, images/ and sparse_points.ply. Structure from motion knows neither scale nor which way is up, so
the result is turned and scaled (`_upright`); how is said in the report and kept with its inverse in transforms.json.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, NamedTuple

import av
import numpy as np
import torch
from PIL import Image, ImageOps

from addon.wire.errors import CannotWrite, NotSupported, Remedy, UnreadableFile, UnusableDataset
from backend.cameras import Camera
from backend.progress import Progress, part, silent

from .. import datasets
from ..datasets import VIDEOS, Dataset, View, checks, colmap
from ..datasets.images import EXTENSIONS, ORIENTATION, reading, to_8_bit
from . import solver as sfm_solver

log = logging.getLogger(__name__)

FEWEST = 3  # photographs that can give a shape at all
SMALL = 800  # pixels of the longer side, below which features finer than a pixel are looked for, too
HEIC = (".heic", ".heif")
WANTED = "Give a folder of JPEG or PNG files, 30 or more taken round the object, or a video."
NEIGHBOURS = 20  # pairs for each frame, about, where neighbours in time are matched
EXHAUSTIVE = 100  # frames of a video up to which every pair is matched; beyond, neighbours in time
DISTANCE = 2.0  # metres from the middle to the camera of median distance: photographs do not know their scale
BLURRY = 0.25  # of the median sharpness
FEW_POSED = 0.8  # share of posed photographs below which a sentence says what to do
SHORTEST_STRETCH = 0.2  # seconds of a video: frames nearer to each other show the same
UNKNOWN_STRETCH = 0.5  # seconds, of a video that does not say how long it is
WIDE_GAP = 90.0  # degrees
COARSE_ERROR = 1.5  # pixels

EXIF_DETAILS, FOCAL, FOCAL_35MM = 0x8769, 0x920A, 0xA405  # EXIF tags


@dataclass(frozen=True)
class SfmOptions:
    """What trades time for completeness. The defaults suit a phone's photographs on two cores."""

    max_size: int = 1600  # pixels, of the longer side: larger images are scaled down
    max_images: int = 200  # taken evenly from more photographs; frames taken from a video
    max_features: int = 3000  # for each image
    threads: int = 2


@dataclass(frozen=True)
class ImageHealth:
    """One photograph's part of the report."""

    name: str
    posed: bool
    points: int  # sparse points that it sees
    sharpness: float  # variance of the Laplacian of grey values 0..255, at 512 pixels


@dataclass(frozen=True)
class HealthReport:
    """How well it went, in figures and in sentences."""

    images: int
    posed: int
    models: int  # groups of images that did not connect; the largest is the result
    points: int
    mean_reprojection_error: float  # pixels of the images as they were used
    points_per_image: float  # median over the posed
    largest_gap_degrees: float  # between neighbouring cameras as seen from the middle, about the vertical
    elevation_degrees: tuple[float, float]  # lowest and highest camera as seen from the middle
    up_from: str  # "level cameras" | "mean camera up"
    per_image: tuple[ImageHealth, ...]
    advice: tuple[str, ...]  # sentences for the user; empty when all is well
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Reconstruction:
    """The data set as written and read back, the report, and how the world was laid."""

    dataset: Dataset
    report: HealthReport
    world_from_reconstruction: np.ndarray  # [4, 4]: rotation, uniform scale, translation


def reconstruct(
    source: Path, out: Path, options: SfmOptions = SfmOptions(), progress: Progress = silent
) -> Reconstruction:
    """Find the cameras of photographs (a folder) or of a video (a file) and write a data set to the folder `out`.

    World: Z up, the middle of what the cameras look at in the origin, the camera of median distance 2 m away from it,
    the first camera on the −Y side.

    Raises:
        UnusableDataset: too few photographs, or none that belong together.
        UnreadableFile: a photograph or the video is damaged, or not there.
        CannotWrite: `out` is there already and not empty, or cannot be written.
        NotSupported: pycolmap is not installed.
        Cancelled: as `progress` says; nothing is left behind.
    """
    if importlib.util.find_spec("pycolmap") is None:
        raise NotSupported(
            "Finding cameras needs the package pycolmap, which is not installed here.",
            remedy=Remedy("set_up", "Set Up"),
        )
    started = time.perf_counter()
    if not source.exists():
        raise UnreadableFile(f"There is no folder or video {source}: give a folder of photographs, or a video.")
    if source.is_file() and source.suffix.lower() in (*EXTENSIONS, *HEIC):
        raise UnusableDataset(
            f"{source.name} is one picture: give the folder that holds it with the others, or a video."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CannotWrite(f"{out} is there already and not empty: choose a new folder.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise CannotWrite(f"{out.parent} cannot be written ({error.strerror}): choose another folder.") from error
    try:
        images = work / "dataset" / "images"
        images.mkdir(parents=True)
        video = source.is_file()
        gathered = part(progress, 0.0, 0.15)
        sharpness = (_frames if video else _photographs)(source, images, options, gathered)
        models = _solve(work, images, options, video, part(progress, 0.15, 0.95), sorted(sharpness))
        progress(0.95, "Laying the world")
        found = _written(work / "dataset", models, sharpness, started)
        with suppress(FileNotFoundError):
            out.rmdir()
        os.replace(work / "dataset", out)
    except OSError as error:
        raise CannotWrite(f"{out} cannot be written ({error}): free some space or choose another folder.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report, matrix = found
    log.info("sfm: %d of %d images posed in %.1f s", report.posed, report.images, report.seconds)
    return Reconstruction(datasets.open_dataset(out), report, matrix)


# ------------------------------------------------------------------------------------------------------------- pictures


def sharpness_of(image: Image.Image) -> float:
    """Return the variance of the Laplacian of grey values at 512 pixels: small where nothing is sharp."""
    grey = image.convert("L")
    grey.thumbnail((512, 512))
    x = np.asarray(grey, dtype=np.float32)
    if min(x.shape) < 3:
        return 0.0
    laplacian = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1]
    return float(laplacian.var())


def _photographs(source: Path, images: Path, options: SfmOptions, progress: Progress) -> dict[str, float]:
    """Copy a folder's photographs upright and not too large; return name -> sharpness.

    Photographs of one size and focal length share a camera: each such group gets a folder of its own where there are
    several.
    """
    paths = datasets.photographs(source)
    if not paths:
        heic = source.is_dir() and any(path.suffix.lower() in HEIC for path in source.iterdir())
        why = "holds HEIC files, which are not read: save them as JPEG." if heic else f"holds no photographs. {WANTED}"
        raise UnusableDataset(f"The folder {source.name} {why}")
    if len(paths) > options.max_images:
        paths = [paths[round(i)] for i in np.linspace(0, len(paths) - 1, options.max_images)]
    if len(paths) < FEWEST:
        raise UnusableDataset(
            f"{len(paths)} photographs are too few to find cameras: take 30 or more round the object, each overlapping "
            "the one before by two thirds."
        )
    prepared: list[tuple[str, tuple[tuple[int, int], str], float]] = []  # name, (size, focal length), sharpness
    taken: set[str] = set()
    for index, path in enumerate(paths):
        progress(index / len(paths), f"Reading photograph {index + 1} of {len(paths)}")
        with reading(path, "photograph"), Image.open(path) as opened:
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


def _frames(source: Path, images: Path, options: SfmOptions, progress: Progress) -> dict[str, float]:
    """Save the sharpest frame of each of `max_images` equal stretches of a video; return name -> sharpness."""
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
    if len(found) < FEWEST:
        raise UnusableDataset(f"The video {source.name} has {len(found)} usable frames: film at least some seconds.")
    return found


# --------------------------------------------------------------------------------------------------------------- COLMAP


SHARES = {"features": (0.0, 0.4), "matches": (0.4, 0.7), "cameras": (0.7, 1.0), "done": (1.0, 1.0)}  # of the time
TEXTS = {"features": "Finding features", "matches": "Matching pictures", "cameras": "Placing cameras"}
TEXTS["done"] = TEXTS["cameras"]


def _solve(
    work: Path, images: Path, options: SfmOptions, video: bool, progress: Progress, names: list[str]
) -> list[colmap.Model]:
    """Return COLMAP's models, the one with most images first. It runs in a process of its own (`sfm_solver`)."""
    with Image.open(images / names[0]) as first:
        small = max(first.size) < SMALL
    task = sfm_solver.Work(
        folder=str(work),
        images=str(images),
        names=names,
        per_folder=any("/" in name for name in names),
        neighbours=video and len(names) > EXHAUSTIVE,
        small=small,
        max_size=options.max_size,
        max_features=options.max_features,
        threads=options.threads,
        fewest=FEWEST,
    )
    pairs = len(names) * NEIGHBOURS if task.neighbours else len(names) * (len(names) - 1) / 2
    (work / "task.json").write_text(task.text(), encoding="utf-8")
    said: dict[str, Any] = {"stage": "features"}
    done = {
        "features": lambda: _rows(task.database, "keypoints") / len(names),
        "matches": lambda: _rows(task.database, "matches") / pairs,
        "cameras": lambda: said.get("placed", 0) / len(names),
        "done": lambda: 1.0,
    }
    with (
        open(work / "log.txt", "wb") as errors,
        subprocess.Popen(
            [sys.executable, "-I", "-c", sfm_solver.START, str(sfm_solver.ROOT), str(work / "task.json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads)},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as process,
    ):
        assert process.stdout is not None
        threading.Thread(target=_listen, args=(process.stdout, said), daemon=True).start()
        best = 0.0
        try:
            while process.poll() is None:
                stage = said["stage"]
                start, end = SHARES[stage]
                best = max(best, start + (end - start) * min(done[stage](), 1.0))  # the next stage may begin meanwhile
                progress(best, TEXTS[stage])
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
        finally:
            process.kill()  # of no effect where it has ended
    if process.returncode != 0:
        last = (work / "log.txt").read_bytes()[-2000:].decode(errors="replace")
        log.warning("COLMAP ended with %s: %s", process.returncode, last)
        raise UnusableDataset(
            f"{TEXTS[said['stage']]} ended early (code {process.returncode}): there may be too "
            "little memory. Choose a smaller image size or fewer pictures; the log has the details."
        )
    models = [colmap.read_model(path) for path in sorted((work / "models").iterdir()) if path.is_dir()]
    models.sort(key=lambda model: -len(model.images))
    if not models or len(models[0].images) < FEWEST:
        raise UnusableDataset(
            f"No cameras could be found from {len(names)} pictures: they have too little in common, or too little "
            "texture. Move round the object in steps of at most 15°, so that pictures overlap by two thirds; keep the "
            "scene still and matt, with something patterned (a newspaper) under a plain object."
        )
    return models


def _listen(stdout: IO[bytes], said: dict[str, Any]) -> None:
    """Keep what the child said last."""
    for line in stdout:
        with suppress(ValueError):
            said.update(json.loads(line))


def _rows(database: Path, table: str) -> int:
    """Return how many rows COLMAP has written so far, for progress; 0 where that cannot be seen right now.

    Safe only because COLMAP is another process: two SQLite libraries in one process break each other's locks.
    """
    if not database.is_file():
        return 0
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=0.1)) as reader,
    ):
        return int(reader.execute(f"select count(*) from {table}").fetchone()[0])
    return 0


# ----------------------------------------------------------------------------------------------------------- the result


class _Laid(NamedTuple):
    matrix: np.ndarray  # [4, 4] world_from_reconstruction
    up_from: str


def _upright(poses: np.ndarray, points: np.ndarray) -> _Laid:
    """Return the similarity that lays a reconstruction upright, centred and to scale. poses [N, 4, 4], OpenCV axes.

    Up: photographers hold cameras level, so the cameras' x axes lie in one plane, whose normal is up. Where they all
    point the same way (a row of pictures from one side) they define none, and the mean of the cameras' own up is taken.
    Middle: the point nearest to all optical axes, if the cameras look towards it, else the median sparse point.
    """
    up, right, positions = -poses[:, :3, 1].mean(0), poses[:, :3, 0], poses[:, :3, 3]
    values, vectors = np.linalg.eigh(right.T @ right / len(right))
    level = values[0] < 0.05 and values[1] > 0.1
    z = vectors[:, 0] * np.sign(vectors[:, 0] @ up) if level else up / np.linalg.norm(up)
    middle = checks.common_middle(poses)
    towards = None if middle is None else ((middle - positions) * poses[:, :3, 2]).sum(-1)
    if middle is None or towards is None or (towards > 0).mean() < 0.9:
        middle = np.median(points, axis=0) if len(points) else positions.mean(0)
    front = positions[0] - middle
    front = front - z * (front @ z)
    if np.linalg.norm(front) < 1e-9:
        front = np.cross(z, [1.0, 0.0, 0.0] if abs(z[0]) < 0.9 else [0.0, 1.0, 0.0])
    y = -front / np.linalg.norm(front)
    rotation = np.stack((np.cross(y, z), y, z))
    scale = DISTANCE / max(float(np.median(np.linalg.norm(positions - middle, axis=-1))), 1e-9)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scale * rotation, -scale * rotation @ middle
    return _Laid(matrix, "level cameras" if level else "mean camera up")


def _placed(matrix: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Return rigid poses [N, 4, 4] after a similarity."""
    moved = matrix @ poses
    moved[:, :3, :3] /= np.cbrt(np.linalg.det(matrix[:3, :3]))
    return moved


def _written(
    folder: Path, models: list[colmap.Model], sharpness: dict[str, float], started: float
) -> tuple[HealthReport, np.ndarray]:
    """Write the data set of the largest model; return the report and world_from_reconstruction."""
    model = models[0]
    posed = sorted(model.images, key=lambda image: image.name)
    poses = np.stack([image.world_from_camera() for image in posed])
    cloud = model.points
    assert cloud is not None
    sure = cloud.track_lengths >= 3 if (cloud.track_lengths >= 3).any() else cloud.track_lengths > 0
    points, colors = cloud.xyz[sure], cloud.rgb[sure]
    laid = _upright(poses, points)
    poses = _placed(laid.matrix, poses)
    points = points @ laid.matrix[:3, :3].T + laid.matrix[:3, 3]

    views = []
    for image, pose in zip(posed, poses, strict=True):
        stored = model.cameras[image.camera]
        intrinsics, lens = colmap.camera_model(stored.model, stored.parameters)
        camera = Camera(
            torch.tensor(pose, dtype=torch.float32),
            torch.tensor(intrinsics, dtype=torch.float32),
            stored.width,
            stored.height,
        )
        views.append(View(f"images/{image.name}", camera, folder / "images" / image.name, lens=lens))
    seen = {image.name: image.points for image in posed}
    for name in sharpness.keys() - seen.keys():
        (folder / "images" / name).unlink()
    per_image = tuple(
        ImageHealth(name, name in seen, seen.get(name, 0), sharp) for name, sharp in sorted(sharpness.items())
    )
    gap, elevation = _coverage(poses)
    report = HealthReport(
        images=len(per_image),
        posed=len(posed),
        models=len(models),
        points=len(points),
        mean_reprojection_error=float(np.average(cloud.errors, weights=cloud.track_lengths)),
        points_per_image=float(np.median(list(seen.values()))),
        largest_gap_degrees=gap,
        elevation_degrees=elevation,
        up_from=laid.up_from,
        per_image=per_image,
        advice=(),
        seconds=time.perf_counter() - started,
    )
    report = dataclasses.replace(report, advice=tuple(_advice(report)))
    extra = {
        "world_from_reconstruction": laid.matrix.tolist(),
        "reconstruction_from_world": np.linalg.inv(laid.matrix).tolist(),
        "health": report.to_dict(),
    }
    datasets.write_transforms(folder, datasets.with_splits(views), points=points, colors=colors, extra=extra)
    return report, laid.matrix


def _coverage(poses: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the largest gap about Z between neighbouring cameras, and the lowest and highest elevation; degrees."""
    x, y, z = poses[:, :3, 3].T
    azimuth = np.sort(np.degrees(np.arctan2(y, x)))
    gap = float(np.diff(azimuth, append=azimuth[0] + 360).max())
    elevation = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return gap, (float(elevation.min()), float(elevation.max()))


def _advice(report: HealthReport) -> list[str]:
    """Return a sentence with a remedy for each thing that is not well."""
    found = []
    lost = [image.name for image in report.per_image if not image.posed]
    if report.posed < FEW_POSED * report.images:
        apart = f" They fall into {report.models} groups that do not connect." if report.models > 1 else ""
        found.append(
            f"Only {report.posed} of {report.images} pictures were placed.{apart} Take more between those that are "
            f"missing ({_some(lost)}), overlapping by two thirds, or leave those out."
        )
    usual = float(np.median([image.sharpness for image in report.per_image]))
    blurry = [image.name for image in report.per_image if image.sharpness < BLURRY * usual]
    if blurry:
        found.append(
            f"{len(blurry)} pictures are much less sharp than the others ({_some(blurry)}): take them again with a "
            "steady hand or more light, or remove them."
        )
    if report.mean_reprojection_error > COARSE_ERROR:
        found.append(
            f"The cameras fit the pictures to {report.mean_reprojection_error:.1f} pixels only: keep the scene still, "
            "do not zoom between pictures, and refine the poses in the fit."
        )
    if report.largest_gap_degrees > WIDE_GAP:
        found.append(
            f"There is a gap of {report.largest_gap_degrees:.0f}° in which no picture was taken: what faces it will be "
            "guessed. Walk all the way round if the object is to be seen from there."
        )
    return found


def _some(names: list[str]) -> str:
    """Return the first three names, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
