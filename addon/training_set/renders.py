"""Renders of a collection's objects from random viewpoints, in random light: a training set.

An *object* of the class is an object of the collection with its children, or a child collection. Image number i shows
object i modulo their number; its viewpoint and light depend on the seed and i alone. So a set is resumed by rendering
what is missing, and grows when more images are asked for. Each image is rendered in a copy of the scene with one object
(`field/capture.py`), so the user's scene is unchanged between two steps.

World of the set: the object's bounding box is centred at the origin and its points lie in the unit sphere; Z up, the
front along −Y. transforms.json also holds the distribution that viewpoints and lights were drawn from, and the light of
each image.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import bpy
import numpy as np
from mathutils import Vector

from ..field import capture
from ..field.capture import CaptureSettings, Step
from ..field.rig import Shot
from ..scene import frames
from ..scene.apply import Handle
from ..wire.errors import InvalidRequest, Remedy
from ..wire.messages import MAX_SEED, Camera

Light = Literal["scene", "sun"]

MARGIN = 1.03
"""Radius of the sphere that fills the image, in radii of the object."""
SAVE_EVERY = 50
"""Images between two writes of transforms.json."""
SENSOR = 36.0


@dataclass(frozen=True)
class TrainingSetSettings:
    """Settings of a training set. Angles in radians; each pair is a range, drawn from uniformly."""

    count: int = 2000  # images
    size: int = 128  # pixels
    seed: int = 0
    azimuth: tuple[float, float] = (-math.pi, math.pi)  # 0 sees the front, π/2 the +X side
    elevation: tuple[float, float] = (math.radians(-10), math.radians(45))
    fov: float = math.radians(30)
    light: Light = "sun"
    sun_azimuth: tuple[float, float] = (-math.pi / 3, math.pi / 3)  # of the direction to the sun
    sun_elevation: tuple[float, float] = (math.radians(30), math.radians(70))
    sun_strength: tuple[float, float] = (2.5, 3.5)
    ambient: float = 0.6  # strength of the uniform white light from all sides that goes with the sun
    engine: str = ""  # empty uses the scene's
    overwrite: bool = False  # render existing images again

    def __post_init__(self) -> None:
        """Raise InvalidRequest for values out of range."""
        if self.light not in get_args(Light):
            raise InvalidRequest(f"There is no light {self.light!r}: choose one of {', '.join(get_args(Light))}")
        for name, values, low, high in (
            ("The number of images", (self.count,), 1, 1_000_000),
            ("The size", (self.size,), 16, 1024),
            ("The seed", (self.seed,), 0, MAX_SEED),
            ("The azimuth", self.azimuth, -math.pi - 1e-6, math.pi + 1e-6),
            ("The elevation", self.elevation, -1.5, 1.5),
            ("The field of view", (self.fov,), 0.02, 2.5),
            ("The sun's azimuth", self.sun_azimuth, -math.pi - 1e-6, math.pi + 1e-6),
            ("The sun's elevation", self.sun_elevation, -1.58, 1.58),
            ("The sun's strength", self.sun_strength, 0, 1000),
            ("The ambient light", (self.ambient,), 0, 1000),
        ):
            if not all(low <= value <= high for value in values):
                shown = ", ".join(f"{value:g}" for value in values)
                raise InvalidRequest(f"{name} must be between {low:g} and {high:g}, got {shown}")

    @property
    def distance(self) -> float:
        """Distance of the cameras from the origin, in radii of the object: its sphere just fills the image."""
        return MARGIN / math.sin(self.fov / 2)


@dataclass(frozen=True)
class Draw:
    """What is random in an image. Radians."""

    azimuth: float
    elevation: float
    sun_azimuth: float
    sun_elevation: float
    sun_strength: float


@dataclass(frozen=True)
class TrainingSet:
    """Result of a rendering."""

    folder: Path
    rendered: int
    skipped: int  # number of images that existed


def draw(settings: TrainingSetSettings, index: int) -> Draw:
    """Return the viewpoint and the light of an image."""
    ranges = settings.azimuth, settings.elevation, settings.sun_azimuth, settings.sun_elevation, settings.sun_strength
    numbers = np.random.default_rng((settings.seed, index)).random(len(ranges))
    return Draw(*(float(min(r) + number * (max(r) - min(r))) for r, number in zip(ranges, numbers)))


def direction(azimuth: float, elevation: float) -> np.ndarray:
    """Return the unit vector [3] towards a viewpoint or light; azimuth 0 is −Y, π/2 is +X."""
    level = math.cos(elevation)
    return np.array((level * math.sin(azimuth), -level * math.cos(azimuth), math.sin(elevation)))


def camera_of(settings: TrainingSetSettings, drawn: Draw) -> Camera:
    """Return the camera of an image, in the world of the set."""
    back = direction(drawn.azimuth, drawn.elevation)
    right = np.array((math.cos(drawn.azimuth), math.sin(drawn.azimuth), 0.0))
    world = np.eye(4)
    world[:3, :3] = np.stack((right, np.cross(-back, right), -back), 1)
    world[:3, 3] = settings.distance * back
    side = settings.size
    focal = side / 2 / math.tan(settings.fov / 2)
    return Camera(frames.matrix4(world), ((focal, 0.0, side / 2), (0.0, focal, side / 2), (0.0, 0.0, 1.0)), side, side)


def members(collection: Any) -> dict[str, list[Any]]:
    """Return the objects of the class by name, each as its Blender objects: those of a child collection, or an object
    of the collection and its children. Objects that are hidden in renders are left out."""
    own = set(collection.objects)
    found = {item.name: [item, *item.children_recursive] for item in own if item.parent not in own}
    found |= {child.name: list(child.all_objects) for child in collection.children}
    shown = {name: [item for item in found[name] if not item.hide_render] for name in sorted(found)}
    solid = (*capture.SURFACES, "EMPTY", "CURVES", "VOLUME", "POINTCLOUD")
    return {name: items for name, items in shown.items() if any(item.type in solid for item in items)}


def render_set(scene: Any, collection: Any, settings: TrainingSetSettings, folder: Path) -> TrainingSet:
    """Render at once, for scripts and background Blender. Raises the errors of `render_steps`."""
    steps = render_steps(scene, collection, settings, folder)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


def render_steps(
    scene: Any, collection: Any, settings: TrainingSetSettings, folder: Path
) -> Generator[Step, None, TrainingSet]:
    """Return the steps of a rendering, one image each. Closing them leaves a set of the images so far.

    Must be called and stepped on Blender's main thread.

    Raises:
        InvalidRequest: nothing to render, or a folder with another set.
        NotSupported: the engine cannot render here.
        CannotWrite: no space, no permission.
    """
    names = list(members(collection))
    if not names:
        raise InvalidRequest(
            f"The collection {collection.name} has no objects to render: put one object or child collection into it "
            "for each object of the class"
        )
    distribution = _distribution(names, settings, settings.engine or scene.render.engine)
    _check_folder(folder, distribution, settings.overwrite)
    layer = bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]
    handles = Handle.of("scenes", scene), Handle.of("collections", collection)
    return _steps(*handles, layer.name, names, settings, distribution, folder)


def _steps(
    scene: Handle,
    collection: Handle,
    layer: str,
    names: list[str],
    settings: TrainingSetSettings,
    distribution: dict[str, Any],
    folder: Path,
) -> Generator[Step, None, TrainingSet]:
    with capture.as_cannot_write(folder):
        (folder / "images").mkdir(parents=True, exist_ok=True)
    engine = distribution["engine"]
    bounds: dict[str, tuple[np.ndarray, float]] = {}
    todo = [i for i in range(settings.count) if settings.overwrite or not (folder / image_path(i)).is_file()]
    skipped = settings.count - len(todo)
    write_transforms(folder, names, settings, distribution)
    try:
        for number, index in enumerate(todo):
            done = skipped + number
            while bpy.app.is_job_running("RENDER"):
                yield Step(done / settings.count, "Waiting for another render")
            yield Step(done / settings.count, f"Image {done + 1} of {settings.count}")
            name = names[index % len(names)]
            items = members(collection.get()).get(name)
            if not items:
                raise InvalidRequest(f"{name} is not in the collection any more: start again")
            if name not in bounds:
                bounds[name] = _bounds(scene.get(), layer, name, items)
            _render_image(scene.get(), layer, items, bounds[name], settings, engine, index, folder)
            if (number + 1) % SAVE_EVERY == 0:
                write_transforms(folder, names, settings, distribution)
    finally:
        write_transforms(folder, names, settings, distribution)
    yield Step(1.0, f"{settings.count} images")
    return TrainingSet(folder, len(todo), skipped)


def _bounds(scene: Any, layer: str, name: str, items: list[Any]) -> tuple[np.ndarray, float]:
    """Return the centre [3] of an object's bounding box, and the largest distance of its points from it."""
    copy = scene.copy()
    try:
        capture.show_only(copy, items)
        found = capture.bounds_of(copy.view_layers[layer], {item.name for item in items})
    finally:
        bpy.data.scenes.remove(copy)
    if found is None:
        raise InvalidRequest(f"{name} has no surface to render: take it out of the collection")
    return found.center, found.radius


def _render_image(
    scene: Any,
    layer: str,
    items: list[Any],
    bounds: tuple[np.ndarray, float],
    settings: TrainingSetSettings,
    engine: str,
    index: int,
    folder: Path,
) -> None:
    """Render one image and write it."""
    center, radius = bounds
    drawn = draw(settings, index)
    camera = camera_of(settings, drawn)
    world = np.array(camera.world_from_camera)
    world[:3, 3] = center + radius * world[:3, 3]
    placed = Shot(
        image_path(index), "train", Camera(frames.matrix4(world), camera.intrinsics, settings.size, settings.size)
    )
    lens: capture.Lens = {
        "type": "PERSP",
        "sensor_width": SENSOR,
        "sensor_height": SENSOR,
        "sensor_fit": "AUTO",
        "lens": SENSOR / 2 / math.tan(settings.fov / 2),
        "shift_x": 0.0,
        "shift_y": 0.0,
        "clip_start": max((settings.distance - 1.1) * radius / 2, 1e-5),
        "clip_end": (settings.distance + 2) * radius * 2,
    }
    square = CaptureSettings(width=settings.size, height=settings.size)
    with _lights(scene, settings, drawn) as (lights, sky):
        own = {item.name for item in items}
        shown = [*items, *(light for light in lights if light.name not in own)]
        with capture.studio(scene, layer, placed, lens, square, engine, shown) as copy:
            if sky is not None:
                copy.world = sky
            capture.render(copy)
            capture.save_png(copy, folder / image_path(index), transparent=True)


@contextlib.contextmanager
def _lights(scene: Any, settings: TrainingSetSettings, drawn: Draw) -> Iterator[tuple[list[Any], Any]]:
    """Yield the lights of an image, and its world, or None for the scene's own; removed afterwards."""
    if settings.light == "scene":
        yield [item for item in scene.objects if item.type == "LIGHT" and not item.hide_render], None
        return
    data = bpy.data.lights.new("Lathe Sun", "SUN")
    sun = bpy.data.objects.new("Lathe Sun", data)
    sky = bpy.data.worlds.new("Lathe Sky")
    try:
        data.energy, data.angle = drawn.sun_strength, math.radians(10)
        sun.rotation_mode = "QUATERNION"
        towards = Vector(direction(drawn.sun_azimuth, drawn.sun_elevation))
        sun.rotation_quaternion = towards.to_track_quat("Z", "Y")
        sky.use_nodes = True
        background = next(node for node in sky.node_tree.nodes if node.bl_idname == "ShaderNodeBackground")
        background.inputs["Color"].default_value = (1, 1, 1, 1)
        background.inputs["Strength"].default_value = settings.ambient
        yield [sun], sky
    finally:
        bpy.data.objects.remove(sun)
        bpy.data.lights.remove(data)
        bpy.data.worlds.remove(sky)


def image_path(index: int) -> str:
    """Return the path of an image in the folder of the set."""
    return f"images/{index:06d}.png"


def _distribution(names: list[str], settings: TrainingSetSettings, engine: str) -> dict[str, Any]:
    """Return what the images were drawn from. Angles in degrees."""
    found: dict[str, Any] = {}
    for key, value in asdict(settings).items():
        if key in ("count", "overwrite", "engine"):
            continue
        angle = key in ("azimuth", "elevation", "fov", "sun_azimuth", "sun_elevation")
        numbers = [round(math.degrees(v) if angle else v, 6) for v in value] if isinstance(value, tuple) else value
        found[f"{key}_degrees" if angle else key] = round(math.degrees(value), 6) if key == "fov" else numbers
    return found | {"radius": settings.distance, "engine": engine, "objects": names}


def write_transforms(
    folder: Path, names: list[str], settings: TrainingSetSettings, distribution: dict[str, Any]
) -> None:
    """Write transforms.json with the images that exist. Raises CannotWrite."""
    frames_ = []
    for index in range(settings.count):
        if not (folder / image_path(index)).is_file():
            continue
        drawn = draw(settings, index)
        pose = np.array(camera_of(settings, drawn).world_from_camera) @ frames.CAMERA_FLIP
        frame = {
            "file_path": image_path(index),
            "transform_matrix": pose.round(7).tolist(),
            "object": names[index % len(names)],
        }
        if settings.light == "sun":
            sun = direction(drawn.sun_azimuth, drawn.sun_elevation).round(6).tolist()
            frame["light"] = {"direction": sun, "strength": round(drawn.sun_strength, 6)}
        frames_.append(frame)
    focal = settings.size / 2 / math.tan(settings.fov / 2)
    document = {
        "camera_model": "PINHOLE",
        "camera_angle_x": settings.fov,
        "fl_x": focal,
        "fl_y": focal,
        "cx": settings.size / 2,
        "cy": settings.size / 2,
        "w": settings.size,
        "h": settings.size,
        "name": folder.name,
        "distribution": distribution,
        "frames": frames_,
    }
    capture.write_json(folder / "transforms.json", document)


def _check_folder(folder: Path, distribution: dict[str, Any], overwrite: bool) -> None:
    """Raise InvalidRequest for a folder with a set of another distribution, unless its images are rendered again."""
    path = folder / "transforms.json"
    if not path.exists():
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8")).get("distribution")
    except (OSError, ValueError, AttributeError):
        stored = None
    if not isinstance(stored, dict):
        raise InvalidRequest(
            f"{folder} contains a data set that was not made here: choose another folder",
            remedy=Remedy("choose_folder", "Choose Another Folder"),
        )
    different = sorted(key for key in distribution if stored.get(key) != distribution[key])
    if different and not overwrite:
        raise InvalidRequest(
            f"{folder} contains a training set with other settings ({', '.join(different)}): choose another folder, or "
            "turn on Overwrite",
            remedy=Remedy("choose_folder", "Choose Another Folder"),
        )
