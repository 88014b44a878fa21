"""Capture: renders of the Blender scene from many sides, as a data set for a radiance field.

`capture_steps` plans all cameras first and then renders one image per step, so that the interface stays responsive and
a capture can end after any image. Each image is rendered in a copy of the scene that shares its objects and is removed
before the step ends, so the user's file is unchanged between two steps and however a step ends. Only a rig along the
camera's path changes the current frame, while it is planned. All images show one moment, the current frame, because a
moving scene would be inconsistent.

A data set is a folder: transforms.json in nerfstudio's format, images/, and optionally depth/ (.npy, float32 metres
along the view, 0 = nothing), normals/ (world normals as (n + 1) / 2) and masks/ (white = the target). capture.json
stores a checksum of each image's settings: an existing image with the same settings is not rendered again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import bpy
import numpy as np
from mathutils import Matrix

from ..scene import exr, frames, png
from ..scene.apply import Handle
from ..wire.errors import CannotWrite, InvalidRequest, LatheError, NotSupported, Remedy
from ..wire.messages import MAX_IMAGE_SIDE, MAX_SEED, Camera
from . import rig
from .rig import Shot, Split

Rig = Literal["orbit", "hemisphere", "sphere", "path"]

DEFAULT_FOV = math.radians(40)  # of a scene without a camera
MAX_VIEWS = 4000
SURFACES = ("MESH", "CURVE", "SURFACE", "META", "FONT")  # types that Object.to_mesh supports
LENS = ("type", "sensor_width", "sensor_height", "sensor_fit", "lens", "shift_x", "shift_y", "clip_start", "clip_end")
WORKBENCH = "BLENDER_WORKBENCH"
FOLDERS = {"depth_file_path": "depth", "normal_file_path": "normals", "mask_path": "masks"}
VISIBLE = 0.5  # share of a pixel that makes it the target's, or gives it a normal


@dataclass(frozen=True)
class CaptureSettings:
    """Settings of a capture. Angles in radians."""

    rig: Rig = "hemisphere"
    count: int = 100  # training views
    val: int = 0
    test: int = 20
    width: int = 256
    height: int = 256
    seed: int = 0  # of the rotation of the rig
    target: Literal["selected", "scene"] = "selected"
    elevation: float = math.radians(25)  # of the orbit above the horizon
    fov: float = 0.0  # along the camera's sensor fit; 0 uses the lens of the scene's camera
    fill: float = 0.95  # fraction of the frame filled by the target's sphere
    transparent: bool = True  # background
    depth: bool = False
    normal: bool = False
    mask: bool = False
    engine: str = ""  # empty uses the scene's
    overwrite: bool = False  # render existing images again

    def __post_init__(self) -> None:
        """Raise InvalidRequest for values out of range."""
        if self.rig not in get_args(Rig):
            raise InvalidRequest(f"There is no rig {self.rig!r}: choose one of {', '.join(get_args(Rig))}")
        for name, value, low, high in (
            ("The number of training views", self.count, 1, MAX_VIEWS),
            ("The number of validation views", self.val, 0, MAX_VIEWS),
            ("The number of test views", self.test, 0, MAX_VIEWS),
            ("The width", self.width, 8, MAX_IMAGE_SIDE),
            ("The height", self.height, 8, MAX_IMAGE_SIDE),
            ("The seed", self.seed, 0, MAX_SEED),
            ("The orbit's elevation", self.elevation, -1.57, 1.57),
            ("The field of view", self.fov, 0, 3.0),
            ("The share of the frame", self.fill, 0.05, 1),
        ):
            if not low <= value <= high:
                raise InvalidRequest(f"{name} must be between {low:g} and {high:g}, got {value:g}")

    @property
    def counts(self) -> dict[Split, int]:
        """Number of views of each split."""
        return {"train": self.count, "val": self.val, "test": self.test}


@dataclass(frozen=True)
class Step:
    """Progress of a capture."""

    fraction: float
    text: str


@dataclass(frozen=True)
class Captured:
    """Result of a capture."""

    folder: Path
    rendered: int
    skipped: int  # number of images that existed


@dataclass(frozen=True, eq=False)
class Target:
    """Objects that the cameras are aimed at."""

    low: np.ndarray  # [3] corners of its box in the world
    high: np.ndarray
    radius: float  # of the sphere around the box's centre
    names: frozenset[str]  # of its objects
    checksum: int  # of its points, which changes with shape and placement

    @property
    def center(self) -> np.ndarray:
        """Centre of the box [3]."""
        return (self.low + self.high) / 2


def capture(scene: Any, settings: CaptureSettings, folder: Path) -> Captured:
    """Capture at once, for scripts and background Blender. Raises the errors of `capture_steps`."""
    steps = capture_steps(scene, settings, folder)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def capture_steps(scene: Any, settings: CaptureSettings, folder: Path) -> Generator[Step, None, Captured]:
    """Return the steps of a capture, one image each. Closing them leaves a data set of the images so far.

    Must be called and stepped on Blender's main thread. The target is determined now.

    Raises:
        InvalidRequest: no target, no camera to follow, or a folder with another data set.
        NotSupported: the engine lacks a pass, or cannot render here.
        CannotWrite: no space, no permission.
    """
    with as_cannot_write(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "transforms.json").exists() and not (folder / "capture.json").exists():
            raise InvalidRequest(
                f"{folder} contains a data set that was not captured here: choose another folder",
                remedy=Remedy("choose_folder", "Choose Another Folder"),
            )
    engine = settings.engine or scene.render.engine
    if engine == WORKBENCH and (settings.normal or settings.mask):
        raise NotSupported("Workbench cannot render normals and masks: choose Cycles or EEVEE, or turn them off")
    view_layer = bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]
    target = find_target(scene, view_layer, settings.target)
    if settings.rig == "path" and (scene.camera is None or scene.camera.type != "CAMERA"):
        raise InvalidRequest(
            "The scene has no active camera to follow: press Add Camera, or choose another rig",
            remedy=Remedy("add_camera", "Add Camera"),
        )
    return _steps(Handle.of("scenes", scene), view_layer.name, target, settings, engine, folder)


def _steps(
    handle: Handle, layer: str, target: Target, settings: CaptureSettings, engine: str, folder: Path
) -> Generator[Step, None, Captured]:
    if settings.rig == "path":
        shots, lenses = yield from _along_path(handle, layer, settings)
    else:
        shots, lenses = _around(handle.get(), layer, target, settings)
    files = {"file_path": "images/{}.png"}
    if settings.depth:
        files["depth_file_path"] = "depth/{}.npy"
    if settings.normal:
        files["normal_file_path"] = "normals/{}.png"
    if settings.mask:
        files["mask_path"] = "masks/{}.png"
    with as_cannot_write(folder):
        for pattern in files.values():
            (folder / pattern).parent.mkdir(exist_ok=True)
    wanted = {shot.name: _checksum_of(handle.get(), shot, target, settings, engine) for shot in shots}
    known = _read_checksums(folder)

    def exists(shot: Shot) -> bool:
        return known.get(shot.name) == wanted[shot.name] and all(
            (folder / pattern.format(shot.name)).is_file() for pattern in files.values()
        )

    todo = [(shot, lens) for shot, lens in zip(shots, lenses) if settings.overwrite or not exists(shot)]
    for shot, _ in todo:
        known.pop(shot.name, None)
    skipped = len(shots) - len(todo)
    if todo:
        _write_checksums(folder, known)  # without the images that are rendered again
    try:
        for index, (shot, lens) in enumerate(todo):
            while bpy.app.is_job_running("RENDER"):
                yield Step((skipped + index) / len(shots), "Waiting for another render")
            yield Step((skipped + index) / len(shots), f"Image {skipped + index + 1} of {len(shots)}")
            _render_shot(handle.get(), layer, shot, lens, target, settings, engine, folder, files)
            known[shot.name] = wanted[shot.name]
            _write_checksums(folder, known)
    finally:
        taken = [shot for shot in shots if known.get(shot.name) == wanted[shot.name]]
        if taken:
            write_json(folder / "transforms.json", rig.transforms(taken, _box(target), files))
    yield Step(1.0, f"{len(shots)} images")
    return Captured(folder, len(todo), skipped)


# --------------------------------------------------------------------------------------------------------- the target


def find_target(scene: Any, view_layer: Any, wanted: str) -> Target:
    """Return the bounds of the selected objects, or of all objects, as they are rendered.

    Includes modifiers, instances and children of selected empties and armatures; excludes objects hidden in renders.

    Raises:
        InvalidRequest: there is no surface.
    """
    items = [item for item in view_layer.objects if wanted == "scene" or item.select_get()]
    items += [child for item in items if item.type in ("EMPTY", "ARMATURE") for child in item.children_recursive]
    found = bounds_of(view_layer, {item.name for item in items if not item.hide_render})
    if found is None:
        raise InvalidRequest(
            "Select the objects to capture first, or choose Whole Scene: the selected objects have no surface"
            if wanted == "selected"
            else "The scene has no surface to capture: add an object"
        )
    return found


def bounds_of(view_layer: Any, chosen: set[str]) -> Target | None:
    """Return the bounds of objects, given by name, as they are rendered; None if they have no surface.

    Raises:
        InvalidRequest: the bounds are not finite, or have no size.
    """
    view_layer.update()
    clouds, names = [], set()
    meshes: dict[tuple[str, int], np.ndarray] = {}  # shared by many instances
    for instance in view_layer.depsgraph.object_instances:
        item = instance.object
        owner = instance.parent if instance.is_instance else item
        if not instance.show_self or owner.original.name not in chosen:
            continue
        key = item.original.name, item.data.as_pointer() if item.data else 0
        if key not in meshes:
            meshes[key] = _points(item)
        if len(meshes[key]):
            matrix = np.array(instance.matrix_world)
            clouds.append((meshes[key] @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32))
            names.add(item.original.name)
    if not clouds:
        return None
    points = np.concatenate(clouds)
    if not np.isfinite(points).all():
        raise InvalidRequest("The object to capture has coordinates that are not finite: repair its mesh")
    low, high = points.min(0).astype(np.float64), points.max(0).astype(np.float64)
    radius = float(np.linalg.norm(points - (low + high) / 2, axis=1).max())
    if radius < 1e-9:
        raise InvalidRequest("The object to capture is a single point: it has no size")
    return Target(low, high, radius, frozenset(names), zlib.crc32(points.tobytes()))


def _points(item: Any) -> np.ndarray:
    """Return points [N, 3] that bound an evaluated object, in its local coordinates."""
    if item.type in SURFACES:
        mesh = item.to_mesh()
        try:
            points = np.empty(len(mesh.vertices) * 3, np.float32)
            mesh.vertices.foreach_get("co", points)
        finally:
            item.to_mesh_clear()
        return points.reshape(-1, 3)
    if item.type in ("VOLUME", "POINTCLOUD", "CURVES", "GREASEPENCIL"):
        return np.array(item.bound_box, np.float32)
    return np.empty((0, 3), np.float32)


def _box(target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the target's box, a flat one thickened slightly, since its volume must not be zero."""
    pad = np.where(target.high - target.low < 1e-3 * target.radius, 0.5e-3 * target.radius, 0.0)
    return target.low - pad, target.high + pad


# -------------------------------------------------------------------------------------------------------- the cameras

Lens = dict[str, Any]
"""Settings of a Blender camera by property."""


def _lens_of(data: Any) -> Lens:
    if data.type != "PERSP":
        raise InvalidRequest("A radiance field needs perspective images: set the scene's camera to Perspective")
    return {name: getattr(data, name) for name in LENS}


@contextlib.contextmanager
def _camera(lens: Lens) -> Iterator[Any]:
    """Make a camera object that belongs to no scene, and remove it afterwards."""
    data = bpy.data.cameras.new("Lathe Capture")
    camera = bpy.data.objects.new("Lathe Capture", data)
    try:
        for name, value in lens.items():
            setattr(data, name, value)
        yield camera
    finally:
        bpy.data.objects.remove(camera)
        bpy.data.cameras.remove(data)


def _seen(scene: Any, depsgraph: Any, camera: Any, matrix: Any, settings: CaptureSettings) -> Camera:
    """Return the wire camera of a camera object with Blender's projection at the capture's size."""
    projection = camera.calc_matrix_camera(
        depsgraph,
        x=settings.width,
        y=settings.height,
        scale_x=scene.render.pixel_aspect_x,
        scale_y=scene.render.pixel_aspect_y,
    )
    return frames.camera_from_blender(matrix, projection, settings.width, settings.height)


def _around(scene: Any, layer: str, target: Target, settings: CaptureSettings) -> tuple[list[Shot], list[Lens]]:
    """Return the shots of a rig around the target."""
    lens: Lens = {}
    if scene.camera is not None and scene.camera.type == "CAMERA" and scene.camera.data.type != "PANO":
        lens = _lens_of(scene.camera.data) | {"type": "PERSP"}
    with _camera(lens) as camera:
        if settings.fov or not lens:
            camera.data.angle = settings.fov or DEFAULT_FOV
        lens = _lens_of(camera.data)
        still = _seen(scene, scene.view_layers[layer].depsgraph, camera, np.eye(4), settings)
    shots = []
    for split, count in settings.counts.items():
        for index, direction in enumerate(
            rig.directions(settings.rig, count, settings.elevation, settings.seed, split)
        ):
            world = rig.aimed(still, direction, target.center, target.radius, settings.fill)
            shots.append(
                Shot(
                    f"{split}_{index:03d}",
                    split,
                    Camera(frames.matrix4(world), still.intrinsics, still.width, still.height),
                )
            )
    distances = [float(np.linalg.norm(np.array(s.camera.world_from_camera)[:3, 3] - target.center)) for s in shots]
    lens["clip_start"] = min(lens["clip_start"], (min(distances) - target.radius) / 2)
    lens["clip_end"] = max(lens["clip_end"], (max(distances) + target.radius) * 2)
    return shots, [lens] * len(shots)


def _along_path(
    handle: Handle, layer: str, settings: CaptureSettings
) -> Generator[Step, None, tuple[list[Shot], list[Lens]]]:
    """Return the shots and lenses of the scene's camera over the frames, and restore the current frame."""
    scene = handle.get()
    before = scene.frame_current, scene.frame_subframe
    splits = rig.interleaved(settings.counts)
    times = np.linspace(scene.frame_start, scene.frame_end, len(splits))
    numbers: dict[Split, int] = dict.fromkeys(rig.SPLITS, 0)
    shots, lenses = [], []
    try:
        for split, time in zip(splits, times):
            scene = handle.get()
            scene.frame_set(math.floor(time), subframe=float(time - math.floor(time)))
            depsgraph = scene.view_layers[layer].depsgraph
            camera = scene.camera.evaluated_get(depsgraph)
            lenses.append(_lens_of(camera.data))
            seen = _seen(scene, depsgraph, camera, camera.matrix_world, settings)
            shots.append(Shot(f"{split}_{numbers[split]:03d}", split, seen))
            numbers[split] += 1
            yield Step(0.0, "Following the camera")
    finally:
        found = handle.find()
        if found is not None:
            found.frame_set(before[0], subframe=before[1])
    if len(shots) > 1 and len({shot.camera.world_from_camera for shot in shots}) == 1:
        raise InvalidRequest(
            f"The scene's camera does not move from frame {scene.frame_start} to {scene.frame_end}: animate it, or "
            "choose a rig around the target"
        )
    return shots, lenses


# --------------------------------------------------------------------------------------------------------- the images


def show_only(copy: Any, only: Iterable[Any]) -> None:
    """Replace the objects of a copied scene."""
    for child in list(copy.collection.children):
        copy.collection.children.unlink(child)
    for item in list(copy.collection.objects):
        copy.collection.objects.unlink(item)
    for item in only:
        copy.collection.objects.link(item)


@contextlib.contextmanager
def studio(
    scene: Any,
    layer: str,
    shot: Shot,
    lens: Lens,
    settings: CaptureSettings,
    engine: str,
    only: Iterable[Any] | None = None,
) -> Iterator[Any]:
    """Make a copy of the scene that shares its objects, with this shot's camera, and remove it afterwards.

    only: the objects of the copy, instead of all of the scene.
    """
    images = {image.name for image in bpy.data.images}
    copy = scene.copy()
    try:
        if only is not None:
            show_only(copy, only)
        with _camera(lens) as camera:
            camera.matrix_world = Matrix(np.array(shot.camera.world_from_camera) @ frames.CAMERA_FLIP)
            copy.collection.objects.link(camera)
            copy.timeline_markers.clear()  # they can switch the camera
            copy.camera = camera
            render = copy.render
            render.engine = engine
            render.resolution_x, render.resolution_y = shot.camera.width, shot.camera.height
            render.resolution_percentage = 100
            render.film_transparent = settings.transparent
            render.dither_intensity = 0.0
            for name in (
                "use_border",
                "use_multiview",
                "use_stamp",
                "use_motion_blur",
                "use_compositing",
                "use_sequencer",
                "use_persistent_data",
            ):
                setattr(render, name, False)
            for other in copy.view_layers:
                other.use = other.name == layer
            passes = copy.view_layers[layer]
            passes.use_pass_z, passes.use_pass_normal = settings.depth, settings.normal
            passes.use_pass_cryptomatte_object = settings.mask
            passes.pass_cryptomatte_depth = 6
            yield copy
    finally:
        bpy.data.scenes.remove(copy)
        for image in [image for image in bpy.data.images if image.name not in images]:
            bpy.data.images.remove(image)  # Blender's "Render Result", which is made again when needed


def _render_shot(
    scene: Any,
    layer: str,
    shot: Shot,
    lens: Lens,
    target: Target,
    settings: CaptureSettings,
    engine: str,
    folder: Path,
    files: dict[str, str],
) -> None:
    """Render one image and write its files, the image last."""
    paths = {key: folder / pattern.format(shot.name) for key, pattern in files.items()}
    image = paths["file_path"]
    with studio(scene, layer, shot, lens, settings, engine) as copy:
        render(copy)
        result = next(image for image in bpy.data.images if image.type == "RENDER_RESULT")
        output = copy.render.image_settings
        if len(paths) > 1:
            passes = image.with_name(f".{shot.name}.exr")
            try:
                set_output(output, "MULTI_LAYER_IMAGE", "OPEN_EXR_MULTILAYER", "RGBA", "32")
                output.exr_codec = "NONE"
                if hasattr(output, "use_exr_interleave"):  # from 5.0 on, where the default is several parts
                    output.use_exr_interleave = True
                with as_cannot_write(passes):
                    result.save_render(str(passes), scene=copy)
                _write_passes(exr.read(passes), layer, target, paths)
            finally:
                passes.unlink(missing_ok=True)
        save_png(copy, image, settings.transparent)


def save_png(copy: Any, path: Path, transparent: bool) -> None:
    """Write the last render of a scene atomically. Raises CannotWrite."""
    result = next(image for image in bpy.data.images if image.type == "RENDER_RESULT")
    set_output(copy.render.image_settings, "IMAGE", "PNG", "RGBA" if transparent else "RGB", "8")
    part = path.with_name(f".{path.name}")
    try:
        with as_cannot_write(path):
            result.save_render(str(part), scene=copy)
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def render(scene: Any) -> None:
    """Render a scene. Raises NotSupported if the engine fails."""
    manager = bpy.context.window_manager
    window = bpy.context.window or (manager.windows[0] if manager and manager.windows else None)
    with bpy.context.temp_override(window=window) if window else contextlib.nullcontext():
        try:
            ended = bpy.ops.render.render(scene=scene.name)
        except RuntimeError as error:
            raise _no_render(scene, str(error)) from error
    if "FINISHED" not in ended:
        raise _no_render(scene, "it finished without an image")


def _no_render(scene: Any, why: str) -> NotSupported:
    remedy = "see the system console"
    if bpy.app.background and scene.render.engine != "CYCLES":
        remedy = "background Blender may have no display: choose Cycles"
    return NotSupported(f"{scene.render.engine.replace('_', ' ').title()} could not render: {why.strip()}; {remedy}")


def set_output(output: Any, media: str, kind: str, color: str, depth: str) -> None:
    """Set a scene's image settings. From 5.0 on, file formats depend on the media type."""
    if hasattr(output, "media_type"):
        output.media_type = media
    output.file_format, output.color_mode, output.color_depth = kind, color, depth


def _write_passes(channels: dict[str, np.ndarray], layer: str, target: Target, paths: dict[str, Path]) -> None:
    """Write depth, normals and mask from the channels of a render."""

    def channel(name: str) -> np.ndarray:
        found = channels.get(f"{layer}.{name}")
        if found is None:
            raise NotSupported(f"The render engine has no {name.split('.')[0]} pass: choose Cycles, or turn it off")
        return found

    if "depth_file_path" in paths:
        depth = channel("Depth.Z").astype(np.float32)
        data = io.BytesIO()
        np.save(data, np.where(depth < 1e9, depth, np.float32(0)))
        _write_bytes(paths["depth_file_path"], data.getvalue())
    if "normal_file_path" in paths:
        normal = np.stack([channel(f"Normal.{axis}") for axis in "XYZ"], -1)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        there = length > VISIBLE
        color = np.where(there, normal / np.where(there, length, 1) / 2 + 0.5, 0)
        png.write(paths["normal_file_path"], np.concatenate((color, there), -1).astype(np.float32))
    if "mask_path" in paths:
        white = (matte(lambda name: channel(f"CryptoObject{name}"), target.names) > VISIBLE).astype(np.float32)
        png.write(paths["mask_path"], np.stack((white, white, white, np.ones_like(white)), -1))


def matte(channel: Callable[[str], np.ndarray], names: frozenset[str]) -> np.ndarray:
    """Return the coverage of each pixel [H, W], 0..1, by some objects.

    channel: returns a channel of a Cryptomatte pass by name ("00.r"): pairs of a name's hash and its coverage
    (Cryptomatte specification 1.2.0, github.com/Psyop/Cryptomatte).
    """
    wanted = np.array([_matte_hash(name) for name in names], np.float32)
    covered: Any = np.float32(0)
    for index in range(3):
        for who, share in ("rg", "ba"):
            hashes = channel(f"{index:02d}.{who}").astype(np.float32)
            covered = covered + np.where(np.isin(hashes, wanted), channel(f"{index:02d}.{share}"), np.float32(0))
    return np.clip(covered, 0, 1)


def _matte_hash(name: str) -> np.float32:
    """Return a name's Cryptomatte hash: its MurmurHash3 (32 bits, seed 0) as a float."""
    data = name.encode()
    value = 0
    for at in range(0, len(data), 4):
        word = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        value ^= (word << 15 | word >> 17) * 0x1B873593 & 0xFFFFFFFF
        if at + 4 <= len(data):
            value = ((value << 13 | value >> 19) * 5 + 0xE6546B64) & 0xFFFFFFFF
    value ^= len(data)
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    value ^= value >> 16
    if value >> 23 & 255 in (0, 255):  # avoids infinities and denormal numbers
        value ^= 1 << 23
    return np.uint32(value).view(np.float32)


# ----------------------------------------------------------------------------------------------------------- the files


def _checksum_of(scene: Any, shot: Shot, target: Target, settings: CaptureSettings, engine: str) -> str:
    """Return a checksum of the settings of an image. Lights and materials are not included: see `overwrite`."""
    view = scene.view_settings
    how = {
        "camera": asdict(shot.camera),
        "target": target.checksum,
        "transparent": settings.transparent,
        "engine": engine,
        "samples": scene.cycles.samples if engine == "CYCLES" else None,
        "view": (view.view_transform, view.look, view.exposure, view.gamma, scene.display_settings.display_device),
        "frame": (scene.frame_current, scene.frame_subframe),
    }
    return hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:16]


def _read_checksums(folder: Path) -> dict[str, str]:
    """Return the checksums of the images rendered so far; none if the file is damaged."""
    try:
        found = json.loads((folder / "capture.json").read_text(encoding="utf-8"))["pictures"]
        return {str(name): str(value) for name, value in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_checksums(folder: Path, checksums: dict[str, str]) -> None:
    write_json(folder / "capture.json", {"version": 1, "pictures": checksums})


def write_json(path: Path, document: Any) -> None:
    _write_bytes(path, json.dumps(document, indent=1).encode())


def _write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    part = path.with_name(f".{path.name}.part")
    with as_cannot_write(path):
        part.write_bytes(data)
        os.replace(part, path)


@contextlib.contextmanager
def as_cannot_write(path: Path) -> Iterator[None]:
    """Turn errors of the system, or of Blender, while writing a file into CannotWrite."""
    try:
        yield
    except LatheError:
        raise
    except (OSError, RuntimeError) as error:
        raise CannotWrite(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}. Choose another folder or free "
            "some space",
            remedy=Remedy("choose_folder", "Choose Another Folder"),
        ) from error
