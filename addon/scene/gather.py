"""Requests from the scene: reads Blender's data on the main thread and returns plain dataclasses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..link.session import session
from ..wire.errors import InvalidRequest, Remedy
from ..wire.messages import (
    IDENTITY4,
    Bounds,
    Camera,
    Direction,
    Latent,
    MeshBlob,
    MeshRequest,
    ModelInfo,
    ScanBlob,
    SceneRef,
    StoredRow,
)
from ..wire.options import options_of
from . import frames

MAX_LAYERS = 32
"""Number of style-mixing switches, Blender's maximum. A model with more rows of ws has several rows per switch."""


@dataclass(frozen=True)
class Subject:
    """The shape that the tab edits: the active field or generated object, or the scene's new shape."""

    settings: Any  # LatheScene or LatheObject, with .model, .latent, .view, .mesh. Must not be kept
    object: Any  # the bpy object, or None. Must not be kept
    world_from_scene: np.ndarray  # [4, 4], placement of the shape

    @property
    def info(self) -> ModelInfo | None:
        """The subject's model; None if the backend has no such model."""
        return session.models.get(self.settings.model)

    @property
    def model(self) -> ModelInfo:
        """The subject's model. Raises InvalidRequest if the backend has no such model."""
        return known_model(self.settings.model)


def generated_object(context: Any) -> Any:
    """Return the active object if it was generated, else None."""
    active = context.view_layer.objects.active if context.view_layer else None
    return active if active is not None and active.lathe.is_generated else None


def field_object(context: Any) -> Any:
    """Return the active object if it is a radiance field, else None."""
    active = context.view_layer.objects.active if context.view_layer else None
    return active if is_field_object(active) else None


def is_field_object(item: Any) -> bool:
    """Return whether an object, or None, is a radiance field. Reads empties alone: reading creates the properties."""
    return item is not None and item.type == "EMPTY" and item.lathe.is_field


def world_from_field(item: Any, matrix_world: Any = None) -> np.ndarray:
    """Return world_from_scene [4, 4] of a field's empty, whose cube, ±1 in its own coordinates, is the field's box."""
    low, high = np.array(item.lathe.box_min, np.float64), np.array(item.lathe.box_max, np.float64)
    field_from_cube = np.diag([*(high - low) / 2, 1.0])
    field_from_cube[:3, 3] = (low + high) / 2
    return np.array(item.matrix_world if matrix_world is None else matrix_world) @ np.linalg.inv(field_from_cube)


def subject(context: Any) -> Subject:
    """Return the shape that the tab edits."""
    scene = context.scene
    field = field_object(context)
    if field is not None:
        return Subject(field.lathe, field, world_from_field(field))
    active = generated_object(context)
    if scene.lathe.target == "OBJECT" and active is not None:
        return Subject(active.lathe, active, np.array(active.matrix_world))
    return Subject(scene.lathe, None, placed_at_cursor(scene))


def placed_at_cursor(scene: Any) -> np.ndarray:
    """Return world_from_scene [4, 4] of a new shape: upright at the 3D cursor, at real size in the scene's units."""
    world = np.eye(4)
    world[:3, 3] = scene.cursor.location
    world[:3, :3] /= scene.unit_settings.scale_length or 1.0
    return world


def latent(settings: Any, info: ModelInfo) -> Latent:
    """Return the latent of a LatheScene, LatheObject or LatheRemembered."""
    group = settings.latent
    prior = info.pose_prior
    pose = None
    if info.pose_conditioned and group.use_condition:
        yaw = prior.default_azimuth + group.condition_yaw
        pose = math.remainder(yaw, 2 * math.pi), prior.default_elevation + group.condition_pitch
    return Latent(
        group.seed_a,
        group.seed_b,
        group.mix_geometry,
        group.mix_appearance if is_separate(info) else group.mix_geometry,
        group.truncation if info.has_truncation else 1.0,
        group.code,
        style_rows(group.style_layers, info),
        pose,
        group.code_b,
        tuple(StoredRow(item.row, item.code) for item in group.rows),
        tuple(Direction(item.code, item.strength, style_rows(item.layers, info)) for item in group.directions),
    )


def is_separate(info: ModelInfo) -> bool:
    """Return whether the model separates appearance from geometry."""
    return 0 < info.num_geometry_ws < info.num_ws


def num_layers(info: ModelInfo) -> int:
    """Return the number of style-mixing switches for a model; 0 for a model without layers to mix."""
    return min(info.num_ws, MAX_LAYERS) if info.num_ws > 1 else 0


def layer_of_row(row: int, info: ModelInfo) -> int:
    """Return the switch of a row of ws."""
    return row * num_layers(info) // info.num_ws


def style_rows(layers: Any, info: ModelInfo) -> tuple[int, ...]:
    """Return the rows of ws that are taken from seed B."""
    if not num_layers(info):
        return ()
    chosen = tuple(layers)
    return tuple(row for row in range(info.num_ws) if chosen[layer_of_row(row, info)])


def property_of(unit: str) -> str:
    """Return the property of a LatheControl with the value of a control of this unit."""
    return {"radians": "angle", "switch": "on", "integer": "number"}.get(unit, "value")


def controls(settings: Any, info: ModelInfo) -> dict[str, float]:
    """Return the model's controls by name, clamped. Those missing in the file keep the model's default."""
    known = {control.name: control for control in info.controls}
    values = {}
    for item in settings.latent.controls:
        if item.name in known:
            control = known[item.name]
            value = float(getattr(item, property_of(control.unit)))
            values[item.name] = min(max(value, control.minimum), control.maximum)
    return values


def is_field(info: ModelInfo | None) -> bool:
    """Return whether a model is a single radiance field: a density without latents."""
    return info is not None and info.quantity == "density" and info.num_ws == 0


def crop(settings: Any) -> Bounds | None:
    """Return the crop box of a LatheObject; None if it is off. Raises InvalidRequest."""
    if not getattr(settings, "use_crop", False):
        return None
    low, high = (tuple(float(value) for value in corner) for corner in (settings.crop_min, settings.crop_max))
    if any(b <= a for a, b in zip(low, high)):
        raise InvalidRequest(
            "The crop box is empty: each maximum must be above its minimum",
            remedy=Remedy("reset_crop", "Reset the Crop"),
        )
    return low, high  # type: ignore[return-value]


def scene_ref(chosen: Subject) -> SceneRef:
    """Return the subject as the wire's SceneRef. Raises InvalidRequest."""
    info = chosen.model
    return SceneRef(
        info.name,
        latent(chosen.settings, info),
        controls(chosen.settings, info),
        frames.matrix4(chosen.world_from_scene),
        crop(chosen.settings),
    )


def known_model(name: str) -> ModelInfo:
    """Return a model of the backend by name. Raises InvalidRequest."""
    info = session.models.get(name)
    if info is None:
        raise InvalidRequest(
            f"The backend has no model named {name!r}" if name else "Choose a model first",
            remedy=Remedy("refresh_models", "Refresh Models"),
        )
    return info


def mesh_request(chosen: Subject) -> MeshRequest:
    """Return the request for the subject's mesh."""
    group = chosen.settings.mesh
    level = group.level if group.use_level else None
    return MeshRequest(scene_ref(chosen), iso_level=level, **option_values(MeshRequest, group))


def option_values(message: type, settings: Any) -> dict[str, Any]:
    """Return the values that a property group holds of a request's options, by field, as the request takes them.

    Options that the group has no property for are left out.
    """
    return {
        name: getattr(settings, name).lower() if option.choices else getattr(settings, name)
        for name, option in options_of(message).items()
        if hasattr(settings, name)
    }


# -------------------------------------------------------------------------------------------------------------- cameras


def fitted(width: float, height: float, size: int) -> tuple[int, int]:
    """Return a size in whole pixels with this aspect and `size` along the longer side."""
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def render_size(scene: Any) -> tuple[int, int]:
    """Return the scene's render size, in pixels."""
    render = scene.render
    scale = render.resolution_percentage / 100
    return max(1, int(render.resolution_x * scale)), max(1, int(render.resolution_y * scale))


def scene_camera(scene: Any, depsgraph: Any, width: int, height: int) -> Camera:
    """Return the active camera at the current frame. Raises InvalidRequest."""
    if scene.camera is None:
        raise InvalidRequest(
            "The scene has no active camera: press Add Camera", remedy=Remedy("add_camera", "Add Camera")
        )
    if scene.camera.type != "CAMERA":
        raise InvalidRequest("The scene's active camera is not a camera object: choose one in the scene properties")
    if scene.camera.data.type == "PANO":
        raise InvalidRequest("A panoramic camera cannot be rendered: choose perspective or orthographic")
    evaluated = scene.camera.evaluated_get(depsgraph)
    projection = evaluated.calc_matrix_camera(
        depsgraph,
        x=width,
        y=height,
        scale_x=scene.render.pixel_aspect_x,
        scale_y=scene.render.pixel_aspect_y,
    )
    return frames.camera_from_blender(evaluated.matrix_world, projection, width, height)


def viewport(context: Any) -> tuple[Any, Any]:
    """Return (region, region_data) of the 3D viewport of this context, else of the largest one, else (None, None)."""
    space = getattr(context, "space_data", None)
    if space is not None and space.type == "VIEW_3D" and context.area is not None:
        return next(region for region in context.area.regions if region.type == "WINDOW"), space.region_3d
    manager = context.window_manager
    areas = [
        area
        for window in (manager.windows if manager else ())
        for area in window.screen.areas
        if area.type == "VIEW_3D"
    ]
    if not areas:
        return None, None
    area = max(areas, key=lambda area: area.width * area.height)
    return next(region for region in area.regions if region.type == "WINDOW"), area.spaces.active.region_3d


def viewport_camera(region_data: Any, width: int, height: int) -> Camera:
    """Return the camera of a 3D viewport, camera views included."""
    return frames.camera_from_blender(region_data.view_matrix.inverted(), region_data.window_matrix, width, height)


def orbit(info: ModelInfo, view: Any, width: int, height: int) -> Camera:
    """Return the camera of a LatheView in the model's own frame, at the model's training distance.

    The field of view is that of the shorter side, so that the whole shape is visible at any aspect.
    """
    prior = info.pose_prior
    azimuth = prior.default_azimuth + view.yaw
    elevation = prior.default_elevation + view.pitch
    # Clamped just short of the poles, where the up direction is undefined.
    elevation = min(max(elevation, 1e-4 - math.pi / 2), math.pi / 2 - 1e-4)
    away = np.array(
        (
            math.cos(elevation) * math.sin(azimuth),
            -math.cos(elevation) * math.cos(azimuth),
            math.sin(elevation),
        )
    )
    right = np.array((math.cos(azimuth), math.sin(azimuth), 0.0))
    down = np.cross(-away, right)
    c, s = math.cos(view.roll), math.sin(view.roll)
    world = np.eye(4)
    world[:3, 0], world[:3, 1], world[:3, 2] = c * right + s * down, c * down - s * right, -away
    world[:3, 3] = np.array(info.bounds).mean(0) + prior.radius * away
    fov = view.fov if view.is_property_set("fov") else prior.fov
    focal = min(width, height) / 2 / math.tan(fov / 2)
    return Camera(
        frames.matrix4(world),
        ((focal, 0.0, width / 2), (0.0, focal, height / 2), (0.0, 0.0, 1.0)),
        width,
        height,
    )


def seen_through_sliders(chosen: Subject, width: int, height: int) -> tuple[SceneRef, Camera]:
    """Return the SceneRef and the camera of the sliders of the view, in the model's own frame.

    The object's transform has no influence. Raises InvalidRequest.
    """
    info = chosen.model
    return replace(scene_ref(chosen), world_from_scene=IDENTITY4), orbit(info, chosen.settings.view, width, height)


def seen_by_preview(context: Any, chosen: Subject, size: int) -> tuple[SceneRef, Camera]:
    """Return the SceneRef and the camera of the preview, `size` pixels along the longer side. Raises InvalidRequest."""
    if context.scene.lathe.preview.source == "SLIDERS":
        return seen_through_sliders(chosen, size, size)  # square, as the models' own images
    return scene_ref(chosen), preview_camera(context, chosen, size)


def preview_camera(context: Any, chosen: Subject, size: int) -> Camera:
    """Return the camera of a preview through the active camera or the viewport, `size` pixels along the longer side.

    Raises InvalidRequest.
    """
    scene = context.scene
    settings = scene.lathe.preview
    if settings.source == "CAMERA":
        width, height = fitted(*render_size(scene), size)
        return scene_camera(scene, context.evaluated_depsgraph_get(), width, height)
    region, region_data = viewport(context)
    if region is None:
        raise InvalidRequest("There is no 3D viewport: open one, or choose Through: Camera")
    width, height = fitted(region.width, region.height, size)
    camera = viewport_camera(region_data, width, height)
    if camera.projection == "orthographic" and chosen.info:
        camera = frames.moved_back(camera, max(0.0, 0.1 - nearest_depth(camera, chosen.world_from_scene, chosen.info)))
    return camera


def nearest_depth(camera: Camera, world_from_scene: np.ndarray, info: ModelInfo) -> float:
    """Return the smallest depth of the corners of the model's box in the camera's frame."""
    low, high = np.array(info.bounds)
    corners = np.array(
        [(x, y, z, 1.0) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])]
    )
    seen = np.linalg.inv(np.array(camera.world_from_camera)) @ world_from_scene @ corners.T
    return float(seen[2].min())


# --------------------------------------------------------------------------------------------------------------- meshes


def triangles(item: Any, depsgraph: Any) -> MeshBlob:
    """Return an object's mesh with its modifiers, as triangles in its own coordinates. Raises InvalidRequest."""
    evaluated = item.evaluated_get(depsgraph)
    mesh = evaluated.to_mesh()
    try:
        mesh.calc_loop_triangles()
        vertices = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", vertices)
        faces = np.empty(len(mesh.loop_triangles) * 3, np.int32)
        mesh.loop_triangles.foreach_get("vertices", faces)
    finally:
        evaluated.to_mesh_clear()
    if not len(faces):
        raise InvalidRequest(f"{item.name} has no faces: choose a mesh with a surface")
    return MeshBlob(vertices.reshape(-1, 3), faces.reshape(-1, 3))


def scan(item: Any, info: ModelInfo) -> ScanBlob:
    """Return a mesh object's vertices (in Edit Mode the selected ones) in its local coordinates, which are the model's.

    Normals are included if the mesh has faces. Raises InvalidRequest.
    """
    if item.mode == "EDIT":
        item.update_from_editmode()
    mesh = item.data
    count = len(mesh.vertices)
    points = np.empty(count * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3)
    normals = None
    if len(mesh.polygons):
        normals = np.empty(count * 3, np.float32)
        mesh.vertices.foreach_get("normal", normals)
        normals = normals.reshape(-1, 3)
    if item.mode == "EDIT":
        chosen = np.empty(count, bool)
        mesh.vertices.foreach_get("select", chosen)
        points, normals = points[chosen], None if normals is None else normals[chosen]
    if len(points) < 10:
        raise InvalidRequest(f"A scan needs at least 10 points, {item.name} has {len(points)}: select more")
    low, high = np.array(info.bounds)
    size = high - low
    if (points < low - size).any() or (points > high + size).any():
        wide = ", ".join(f"{a:.2g} to {b:.2g}" for a, b in zip(low, high))
        raise InvalidRequest(
            f"{item.name} lies far outside the model's box ({wide} m): move, rotate and scale it in Edit Mode, Z up"
        )
    return ScanBlob(np.ascontiguousarray(points), None if normals is None else np.ascontiguousarray(normals))


def image_pixels(image: Any) -> np.ndarray:
    """Return the pixels of an image datablock [H, W, 4]: float32 sRGB 0..1, unpremultiplied, top row first.

    Those of a datablock of bytes are sRGB already; those of floats are linear, and premultiplied where it says so.
    """
    flat = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(flat)
    pixels = frames.image_from_pixels(flat, *image.size)
    if image.is_float:
        if image.alpha_mode == "PREMUL":
            pixels[..., :3] /= np.maximum(pixels[..., 3:], 1e-6)
        linear = np.clip(pixels[..., :3], 0, 1)
        pixels[..., :3] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return pixels
