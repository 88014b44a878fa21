"""Cameras that photogrammetry programs export: Metashape's XML and RealityCapture's (RealityScan's) CSV.

Both lie beside the photographs, or beside their folder `images`, and name them, Metashape without extension.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from addon.wire.errors import UnreadableFile, UnusableDataset
from addon.wire.messages import MAX_NUMBER, PINHOLE, Lens
from meshing.images import NotAnImage, open_regular, reason

from . import checks
from .shots import Shot, Size, dataset_of, fixed, with_flipped_axes
from .views import Dataset

MAX_BYTES = 256 << 20
CSV_COLUMNS = ("x", "y", "alt", "heading", "pitch", "roll", "f")
SENSOR_WIDTH = 36.0  # mm, of RealityCapture's focal lengths and principal points

EARTH = 1e6  # metres from the origin, beyond which coordinates are geocentric


def find(folder: Path) -> Path | None:
    """Return the exported file of a folder, or None."""
    for path in sorted(folder.glob("*.xml")) + sorted(folder.glob("*.csv")):
        start = _bytes(path)[:4096] if path.is_file() else b""
        if (path.suffix == ".xml" and b"<chunk" in start) or (path.suffix == ".csv" and _header(start)):
            return path
    return None


def read(folder: Path, file: Path, photographs: Sequence[Path], *, flip_axes: bool = False) -> Dataset:
    """Read an exported file with the photographs of its folder. See `open_dataset`."""
    by_name = {path.name.casefold(): path for path in photographs} | {
        path.stem.casefold(): path for path in photographs
    }
    metashape = file.suffix == ".xml"
    shots, lost = _metashape(folder, file, by_name) if metashape else (_reality_capture(folder, file, by_name), 0)
    if flip_axes:
        shots = with_flipped_axes(shots)
    warnings = []
    if lost:
        warnings.append(
            f"{len(shots)} of {len(shots) + lost} cameras of {file.name} are used: the others have no pose."
        )
    unknown = len(set(photographs) - {shot.image for shot in shots}) if shots else 0
    if unknown:
        warnings.append(f"{unknown} photographs have no camera in {file.name}, and are left out.")
    kind = "metashape" if metashape else "reality-capture"
    return dataset_of(folder, kind, shots, warnings=warnings, hold_back=True)


def _bytes(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, NotAnImage) as error:
        raise UnreadableFile(f"{path.name} cannot be read: {reason(error)}.") from error
    if len(data) > MAX_BYTES:
        raise UnreadableFile(f"{path.name} has more than {MAX_BYTES >> 20} MiB: it is no list of cameras.")
    return data


def _image(folder: Path, by_name: dict[str, Path], name: str) -> Path:
    plain = name.replace("\\", "/").rsplit("/", 1)[-1]
    return by_name.get(plain.casefold()) or folder / (plain.replace("\0", "") or "unnamed")


def _numbers(text: str | None, count: int, what: str) -> np.ndarray:
    try:
        values = np.array((text or "").split(), np.float64)
    except ValueError:
        values = np.empty(0)
    if values.size != count or not (np.abs(values) <= MAX_NUMBER).all():
        raise UnusableDataset(f"{what} is not {count} finite numbers: export the cameras again.")
    return values


# ------------------------------------------------------------------------------------------------------------ Metashape


def _metashape(folder: Path, file: Path, by_name: dict[str, Path]) -> tuple[list[Shot], int]:
    """Return the shots of Metashape's cameras, and how many have no pose. Camera axes are OpenCV's."""
    data = _bytes(file)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise UnreadableFile(f"{file.name} declares entities, which Metashape's files do not: export it again.")
    try:
        chunk = ElementTree.fromstring(data).find("chunk")
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UnreadableFile(f"{file.name} is not valid XML ({error}): export it again.") from error
    if chunk is None:
        raise UnusableDataset(f"{file.name} holds no chunk: export the cameras as Agisoft XML.")
    sensors = {sensor.get("id"): sensor for sensor in chunk.iterfind("sensors/sensor")}
    components = {part.get("id"): part.find("transform") for part in chunk.iterfind("components/component")}
    whole = chunk.find("transform")
    shots, lost = [], 0
    for camera in chunk.iterfind("cameras//camera"):
        name, transform = camera.get("label") or "", camera.findtext("transform")
        if transform is None or not name:
            lost += 1
            continue
        world_from_chunk = _placement(components.get(camera.get("component_id")), whole, name)
        pose = _numbers(transform, 16, f"The pose of {name[:80]}").reshape(4, 4)
        sensor = sensors.get(camera.get("sensor_id"))
        if sensor is None:
            raise UnusableDataset(f"{name[:80]} names a sensor that {file.name} does not hold: export it again.")
        intrinsics, size, lens = _sensor(sensor, file)
        posed = _moved(world_from_chunk, pose)
        shots.append(Shot(name, _image(folder, by_name, name), posed, fixed(intrinsics), size, lens))
    return _level(shots), lost


def _placement(own: ElementTree.Element | None, whole: ElementTree.Element | None, name: str) -> np.ndarray:
    """Return world_from_chunk [4, 4], a similarity: that of the camera's component, or of the chunk."""
    found = np.eye(4)
    part = next((t for t in (own, whole) if t is not None and t.find("rotation") is not None), None)
    if part is not None:
        scale = _numbers(part.findtext("scale") or "1", 1, f"The scale of the chunk of {name[:80]}")[0]
        found[:3, :3] = scale * _numbers(part.findtext("rotation"), 9, "The chunk's rotation").reshape(3, 3)
        found[:3, 3] = _numbers(part.findtext("translation") or "0 0 0", 3, "The chunk's translation")
    return found


def _moved(similarity: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Return a pose moved by a similarity, without its scale."""
    found: np.ndarray = similarity @ pose
    scale = np.cbrt(abs(np.linalg.det(similarity[:3, :3])))
    found[:3, :3] /= scale if scale > 0 else 1.0
    return found


def _sensor(sensor: ElementTree.Element, file: Path) -> tuple[np.ndarray, Size, Lens]:
    """Return intrinsics [3, 3], size and lens of a sensor (formulas: appendix of Metashape's manual, camera models).

    u = w/2 + cx + x' f + x' b1 + y' b2, v = h/2 + cy + y' f; its p1, p2 are OpenCV's in the other order.
    """
    calibrations = sensor.findall("calibration")
    adjusted = [c for c in calibrations if c.get("class") == "adjusted"] or calibrations
    resolution = sensor.find("resolution")
    if not adjusted or resolution is None:
        raise UnusableDataset(f"A sensor in {file.name} has no calibration or no size: align the photographs first.")
    names = ("f", "cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2", "b1", "b2")
    values = [
        _numbers(adjusted[-1].findtext(name) or "0", 1, f"{name} of a sensor in {file.name}")[0].item()
        for name in names
    ]
    f, cx, cy, k1, k2, k3, k4, p1, p2, b1, b2 = values
    try:
        width, height = int(resolution.get("width", "")), int(resolution.get("height", ""))
    except ValueError:
        raise UnusableDataset(f"A sensor in {file.name} has no size in whole pixels: export it again.") from None
    intrinsics = np.array([[f + b1, b2, width / 2 + cx], [0.0, f, height / 2 + cy], [0.0, 0.0, 1.0]])
    kind = sensor.get("type") or "frame"
    if kind in ("fisheye", "equidistant_fisheye"):
        if p1 or p2:
            raise UnusableDataset(f"A fisheye in {file.name} has tangential distortion: fix p1 and p2 at 0 and align.")
        return intrinsics, (width, height), Lens("fisheye", (k1, k2, k3, k4))
    if kind != "frame":
        raise UnusableDataset(f"The sensor type {kind[:40]} in {file.name} is not read: only frame and fisheye are.")
    lens = Lens("opencv", (k1, k2, k3, k4), (p2, p1))
    return intrinsics, (width, height), PINHOLE if lens.is_pinhole else lens


def _level(shots: list[Shot]) -> list[Shot]:
    """Return shots with Z up where their coordinates are geocentric: turned so that the earth's normal is Z."""
    if not shots:
        return shots
    middle = np.median([shot.world_from_camera[:3, 3] for shot in shots], axis=0)
    distance = float(np.linalg.norm(middle))
    if distance < EARTH:
        return shots
    up = middle / distance
    east = np.cross([0.0, 0.0, 1.0], up)
    east /= max(float(np.linalg.norm(east)), 1e-12)
    turn = np.eye(4)
    turn[:3, :3] = np.stack((east, np.cross(up, east), up))
    return [replace(shot, world_from_camera=turn @ shot.world_from_camera) for shot in shots]


# ------------------------------------------------------------------------------------------------------ RealityCapture


def _header(start: bytes) -> bool:
    first = start.decode("utf-8-sig", errors="replace").splitlines()[:1]
    names = [name.strip().lstrip("#").lower() for name in first[0].split(",")] if first else []
    return bool(names) and names[0] == "name" and set(CSV_COLUMNS) <= set(names)


def _reality_capture(folder: Path, file: Path, by_name: dict[str, Path]) -> list[Shot]:
    return list(_rows(folder, file, by_name))


def _rows(folder: Path, file: Path, by_name: dict[str, Path]) -> Iterator[Shot]:
    """Yield the shots of a CSV of internal and external camera parameters.

    heading, pitch, roll: degrees; at 0 the camera looks down with its top to the north. The pose (OpenGL axes) is
    Rz(−heading) Rx(pitch) Ry(roll). f, px, py: millimetres on a sensor 36 mm wide along the longer side.
    """
    text = _bytes(file).decode("utf-8-sig", errors="replace")
    rows = csv.reader(io.StringIO(text))
    names = [name.strip().lstrip("#").lower() for name in next(rows)]
    for row in rows:
        if not row:
            continue
        fields = dict(zip(names, row, strict=False))
        name = fields.get("name", "")
        value = {
            key: _numbers(fields.get(key) or ("" if key in CSV_COLUMNS else "0"), 1, f"{key} of {name[:80]}")[0].item()
            for key in (*CSV_COLUMNS, "px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
        }
        yaw, pitch, roll = (math.radians(value[key]) for key in ("heading", "pitch", "roll"))
        turn = _about(2, -yaw) @ _about(0, pitch) @ _about(1, roll)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn, [value[key] for key in ("x", "y", "alt")]
        lens = Lens("opencv", tuple(value[f"k{i}"] for i in range(1, 5)), (value["t1"], value["t2"]))
        image = _image(folder, by_name, name)
        lens = PINHOLE if lens.is_pinhole else lens
        yield Shot(name, image, checks.flipped(pose), partial(_of_size, value), lens=lens)


def _of_size(value: dict[str, float], size: Size) -> np.ndarray:
    pixels = max(size) / SENSOR_WIDTH
    focal, cx, cy = value["f"] * pixels, size[0] / 2 + value["px"] * pixels, size[1] / 2 + value["py"] * pixels
    return np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])


def _about(axis: int, angle: float) -> np.ndarray:
    """Return the rotation [3, 3] about a coordinate axis."""
    c, s = math.cos(angle), math.sin(angle)
    found = np.eye(3)
    one, other = (axis + 1) % 3, (axis + 2) % 3
    found[one, one], found[one, other], found[other, one], found[other, other] = c, -s, s, c
    return found
