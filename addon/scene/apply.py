"""Results to the scene: objects, meshes, materials and images.

Large arrays are written by `foreach_set` on raw attributes, which copies memory. Slower work (edges, colour spaces,
PNG) is done on the job's thread by the `prepare_*` functions, which use no Blender data. The functions that write
results are generators: between two steps anything may happen, undo included, so each step looks its data up again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..link.jobs import LATER, Steps
from ..wire.errors import LatheError
from ..wire.messages import ImageResult, MeshResult, SheetResult
from . import frames, leftovers, png, standing

log = logging.getLogger(__name__)

PREVIEW_IMAGE = "Lathe Preview"
VARIANTS_IMAGE = "Lathe Variants"
DEPTH_IMAGE = "Lathe Depth"
SILHOUETTE_IMAGE = "Lathe Silhouette"
COLOR_ATTRIBUTE = "Color"
UV_MAP = "UVMap"
ICON_SIDE = 256
FACES_AT_ONCE = 60_000  # foreach_set takes about 5 ms for as many
STEP_SECONDS = 0.006
VERTICES_OF_SLOW_NORMALS = 12_000


@dataclass(frozen=True)
class Handle:
    """Lasting reference to a datablock by its session id. Python references do not survive undo; names may change."""

    kind: str  # "objects", "meshes", "scenes", ...
    name: str
    uid: int

    @classmethod
    def of(cls, kind: str, block: Any) -> Handle:
        """Return the handle of a datablock."""
        return cls(kind, block.name, block.session_uid)

    def find(self) -> Any:
        """Return the datablock, or None if it was deleted."""
        blocks = getattr(bpy.data, self.kind)
        block = blocks.get(self.name)
        if block is not None and block.session_uid == self.uid:
            return block
        return next((block for block in blocks if block.session_uid == self.uid), None)

    def get(self) -> Any:
        """Return the datablock. Raises LatheError when it was deleted or undone meanwhile."""
        block = self.find()
        if block is None:
            raise LatheError(f"{self.name} was deleted while the result was computed")
        return block


# --------------------------------------------------------------------------------------------------- on a job's thread


@dataclass(frozen=True, eq=False)
class PreparedMesh:
    """A MeshResult in the form that Blender's attributes take without conversion."""

    positions: np.ndarray  # float32 [3 V]
    corner_vertices: np.ndarray  # int32 [3 F]
    corner_edges: np.ndarray  # int32 [3 F]
    edges: np.ndarray  # int32 [2 E]
    normals: np.ndarray | None  # float32 [3 V]
    colors: np.ndarray | None  # float32 [4 V], linear
    uvs: np.ndarray | None  # float32 [6 F]
    texture: bytes  # PNG, or empty
    name: str
    box: np.ndarray  # float64 [2, 3], lower and upper corner of the positions
    color: tuple[float, float, float]  # mean colour, linear


def prepare_mesh(result: MeshResult) -> PreparedMesh:
    """Return a mesh ready for `build_mesh`. Raises LatheError for faces with invalid vertex indices."""
    count = len(result.vertices)
    faces = np.ascontiguousarray(result.faces, np.int32)
    if faces.size and (faces.min() < 0 or faces.max() >= count):
        raise LatheError("The backend's mesh is damaged: a face has an invalid vertex index")
    edges, corner_edges = edges_of(faces, count)
    linear = None
    if result.colors is not None:
        table = frames.linear_from_srgb(np.arange(256, dtype=np.float32)[:, None].repeat(3, 1) / 255)[:, 0]
        linear = np.empty((count, 4), np.float32)
        linear[:, :3] = table[result.colors[:, :3]]
        linear[:, 3] = result.colors[:, 3] / np.float32(255)
    corners = result.vertices if count else np.zeros((1, 3), np.float32)
    return PreparedMesh(
        np.ascontiguousarray(result.vertices, np.float32).ravel(),
        faces.ravel(),
        corner_edges,
        edges,
        None if result.normals is None else np.ascontiguousarray(result.normals, np.float32).ravel(),
        None if linear is None else linear.ravel(),
        None if result.uvs is None else np.ascontiguousarray(result.uvs, np.float32).ravel(),
        b"" if result.texture is None else png.encode(result.texture),
        result.name,
        np.stack((corners.min(0), corners.max(0))).astype(np.float64),
        _mean_color(linear, result.texture),
    )


def _mean_color(colors: np.ndarray | None, texture: np.ndarray | None) -> tuple[float, float, float]:
    """Return the mean linear colour of vertices [V, 4], else of the covered pixels of an sRGB texture [H, W, 4]."""
    if texture is not None:
        pixels = texture.reshape(-1, texture.shape[-1])[:: max(1, texture.shape[0] * texture.shape[1] // 10_000)]
        covered = pixels[pixels[:, 3] > 0] if pixels.shape[1] == 4 else pixels
        colors = frames.linear_from_srgb(covered[:, :3].astype(np.float32) / 255)
    if colors is None or not len(colors):
        return 0.8, 0.8, 0.8  # Blender's own
    red, green, blue = colors[:, :3].mean(0)
    return float(red), float(green), float(blue)


def edges_of(faces: np.ndarray, num_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (edges int32 [2 E], corner_edges int32 [3 F]) of triangles [F, 3]. A corner's edge leads to the next."""
    start = faces.ravel().astype(np.int64)
    end = faces[:, [1, 2, 0]].ravel().astype(np.int64)
    keys = np.minimum(start, end) * max(num_vertices, 1) + np.maximum(start, end)
    unique, inverse = np.unique(keys, return_inverse=True)
    edges = np.stack((unique // max(num_vertices, 1), unique % max(num_vertices, 1)), -1)
    return edges.astype(np.int32).ravel(), inverse.astype(np.int32).ravel()


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image as Blender's flat pixels."""

    pixels: np.ndarray  # float32 [4 H W], bottom row first
    width: int
    height: int
    icon: np.ndarray  # float32 [h, w, 4], bottom row first, at most ICON_SIDE pixels


def _prepared(image: np.ndarray) -> PreparedImage:
    """Return an image [H, W, 4], uint8 or float, as pixels and icon."""
    height, width, _ = image.shape
    pixels = frames.pixels_from_image(image)
    step = -(-max(width, height) // ICON_SIDE)
    icon = pixels.reshape(height, width, 4)[::step, ::step].copy()
    icon[..., :3] *= icon[..., 3:]  # Blender draws icons as premultiplied
    return PreparedImage(pixels, width, height, icon)


def prepare_image(result: ImageResult, show: str) -> PreparedImage:
    """Return a result as the preview shows it: "COLOR", "DEPTH" (near is bright), "NORMAL" or "SILHOUETTE"."""
    image = result.rgba
    if show == "DEPTH":
        seen = np.isfinite(result.depth)
        low, high = (result.depth[seen].min(), result.depth[seen].max()) if seen.any() else (0.0, 1.0)
        bright = np.where(seen, 1 - 0.9 * (result.depth - low) / max(high - low, 1e-9), 0)
        image = np.stack((bright, bright, bright, seen), -1)
    elif show == "SILHOUETTE":
        image = np.repeat(result.rgba[..., 3:], 4, -1)
        image[..., 3] = 1
    elif show == "NORMAL" and result.normal is not None:
        image = np.concatenate((result.normal * 0.5 + 0.5, result.rgba[..., 3:]), -1)
    return _prepared(np.asarray(image))


def prepare_sheet(result: SheetResult) -> PreparedImage:
    """Return a sheet of small images as one image, as square as possible."""
    number, height, width, _ = result.images.shape
    columns = int(np.ceil(np.sqrt(number)))
    rows = -(-number // columns)
    sheet = np.zeros((rows * height, columns * width, 4), np.uint8)
    for index, image in enumerate(result.images):
        row, column = divmod(index, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    return _prepared(sheet)


# -------------------------------------------------------------------------------------------------- on the main thread


def put_image(name: str, prepared: PreparedImage) -> str:
    """Write an image to the datablock of this name, made if needed, and return the name."""
    image = bpy.data.images.get(name)
    if image is None or image.source != "GENERATED" or image.is_float:
        if image is not None:
            image.name = f"{name}.old"
        image = bpy.data.images.new(name, prepared.width, prepared.height, alpha=True)
        image.alpha_mode = "STRAIGHT"
    if tuple(image.size) != (prepared.width, prepared.height):
        image.generated_width, image.generated_height = prepared.width, prepared.height  # scale() resamples, slowly
    image.pixels.foreach_set(prepared.pixels)
    image.update()
    icon = image.preview_ensure()
    if icon is not None:  # the icon in the panel, which Blender does not update by itself
        icon.image_size = prepared.icon.shape[1::-1]
        icon.image_pixels_float.foreach_set(prepared.icon.ravel())
    _show_in_editor(image)
    return image.name


def _show_in_editor(image: Any) -> None:
    """Show the image in an image editor that shows nothing yet."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager else ():
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR" and area.spaces.active.image is None:
                area.spaces.active.image = image
                return


def build_mesh(name: str, prepared: PreparedMesh) -> Generator[Any, None, Handle]:
    """Build a mesh datablock step by step and return its Handle. It is removed if the steps end early."""
    mesh = bpy.data.meshes.new(name)
    handle = Handle.of("meshes", mesh)
    try:
        num_faces = len(prepared.corner_vertices) // 3
        mesh.vertices.add(len(prepared.positions) // 3)
        mesh.attributes["position"].data.foreach_set("vector", prepared.positions)
        yield
        mesh = handle.get()
        mesh.edges.add(len(prepared.edges) // 2)
        mesh.attributes[".edge_verts"].data.foreach_set("value", prepared.edges)
        yield
        mesh = handle.get()
        mesh.loops.add(len(prepared.corner_vertices))
        _attribute(mesh, ".corner_vert", "INT", "CORNER").data.foreach_set("value", prepared.corner_vertices)
        _attribute(mesh, ".corner_edge", "INT", "CORNER").data.foreach_set("value", prepared.corner_edges)
        yield
        mesh = handle.get()
        mesh.polygons.add(num_faces)
        if num_faces <= FACES_AT_ONCE:
            mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * num_faces, 3, dtype=np.int32))
        else:
            yield from _set_face_starts(handle, num_faces)
        yield
        mesh = handle.get()
        mesh.update(calc_edges=False)
        if prepared.normals is not None:
            _set_normals(mesh, prepared.normals)
            yield
            mesh = handle.get()
        else:
            mesh.shade_flat()
        if prepared.colors is not None:
            layer = mesh.color_attributes.new(COLOR_ATTRIBUTE, "FLOAT_COLOR", "POINT")
            layer.data.foreach_set("color", prepared.colors)
            mesh.color_attributes.active_color = layer
            yield
            mesh = handle.get()
        if prepared.uvs is not None:
            mesh.uv_layers.new(name=UV_MAP)
            mesh.attributes[UV_MAP].data.foreach_set("vector", prepared.uvs)
            yield
            mesh = handle.get()
        return handle
    except BaseException:
        unfinished = handle.find()
        if unfinished is not None:
            bpy.data.meshes.remove(unfinished)
        raise


def _set_face_starts(handle: Handle, num_faces: int) -> Iterator[Any]:
    """Set the first corner of each face, in steps: for many faces `foreach_set` would hold the main thread too long."""
    begun, polygons = time.perf_counter(), handle.get().polygons
    for index in range(num_faces):
        polygons[index].loop_start = 3 * index
        if not index % 1000 and time.perf_counter() - begun > STEP_SECONDS:
            yield
            begun, polygons = time.perf_counter(), handle.get().polygons


def _attribute(mesh: Any, name: str, kind: str, domain: str) -> Any:
    return mesh.attributes.get(name) or mesh.attributes.new(name, kind, domain)


def _set_normals(mesh: Any, normals: np.ndarray) -> None:
    """Set custom normals if that is fast in this Blender; otherwise smooth shading alone."""
    mesh.shade_smooth()
    if bpy.app.version >= (4, 5, 0):
        mesh.attributes.new("custom_normal", "FLOAT_VECTOR", "POINT").data.foreach_set("vector", normals)
    elif len(mesh.vertices) <= VERTICES_OF_SLOW_NORMALS:
        mesh.normals_split_custom_set_from_vertices(normals.reshape(-1, 3))


def vertex_color_material(name: str) -> Any:
    """Return a new material that shows the colour attribute."""
    material, shader = _new_material(name)
    node = material.node_tree.nodes.new("ShaderNodeVertexColor")
    node.layer_name = COLOR_ATTRIBUTE
    node.location = (-300, 200)
    material.node_tree.links.new(node.outputs[0], shader.inputs[0])
    return material


def texture_material(name: str, encoded: bytes) -> Any:
    """Return a new material with a baked texture that is packed into the file."""
    image = bpy.data.images.new(name, 1, 1, alpha=True)
    image.pack(data=encoded, data_len=len(encoded))
    image.source = "FILE"
    image.filepath = f"//{bpy.path.clean_name(name)}.png"
    image.alpha_mode = "STRAIGHT"
    material, shader = _new_material(name)
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    node.location = (-300, 200)
    material.node_tree.links.new(node.outputs[0], shader.inputs[0])
    return material


def _new_material(name: str) -> tuple[Any, Any]:
    material = bpy.data.materials.new(name)
    leftovers.mark(material)
    if material.node_tree is None:
        material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeBsdfPrincipled")
    return material, shader


def _material(name: str, prepared: PreparedMesh, item: Any) -> Any:
    """Return the material of a mesh's colours, or None without colours. Its viewport colour is their mean.

    item: the object whose mesh is replaced, or None. Its material of vertex colours, edited or not, stays; the user's
    own ones take the place of any.
    """
    old = [] if item is None else [material for material in item.data.materials if material is not None]
    if not all(leftovers.is_ours(material) for material in old):
        return None
    if prepared.texture:
        material = texture_material(name, prepared.texture)
    elif prepared.colors is not None:
        material = next((material for material in old if _shows_vertex_colors(material)), None)
        material = material or vertex_color_material(name)
    else:
        return None
    material.diffuse_color = (*prepared.color, 1.0)
    return material


def _shows_vertex_colors(material: Any) -> bool:
    return any(node.bl_idname == "ShaderNodeVertexColor" for node in material.node_tree.nodes)


def wait_for_object_mode() -> Iterator[Any]:
    """Yield until the user is in Object Mode: undo steps of other modes do not include objects and meshes."""
    while bpy.context.mode != "OBJECT":
        yield LATER


def put_shape(
    prepared: PreparedMesh,
    name: str,
    scene: Handle,
    world_from_scene: np.ndarray,
    target: Handle | None,
    write_settings: Any,
    *,
    undo: bool = True,
    select: bool = True,
    stand: bool = False,
) -> Steps:
    """Add a mesh to the scene as a new object, or replace the mesh of `target`. Returns the object's name.

    world_from_scene: [4, 4] transform of a new object. write_settings: called with the object, to store the settings it
    was made from. undo: make it an undo step. select: make a new object the active one. stand: move a new object up or
    down until it stands at the height of its origin, and to the nearest free place beside what is there.
    """
    mesh_handle = yield from build_mesh(name, prepared)
    try:
        yield from wait_for_object_mode()
        others = (yield from standing.occupied(scene.get)) if stand else np.zeros((0, 2, 3))
        yield from wait_for_object_mode()
        mesh, place = mesh_handle.get(), scene.get()
        item = target.find() if target else None
        material = _material(name, prepared, item)
        if material is not None:
            mesh.materials.append(material)
        leftovers.mark(mesh)
        if item is None:
            item = bpy.data.objects.new(name, mesh)
            item.matrix_world = Matrix(world_from_scene.tolist())
            collection_of(place).objects.link(item)
            if select:
                select_alone(item)
            if stand:
                _stand(item, prepared, others, first=place.lathe.last_object is None)
        else:
            _replace_mesh(item, mesh)
        write_settings(item)
        place.lathe.last_object = item
    except BaseException:
        unfinished = mesh_handle.find()
        if unfinished is not None and not unfinished.users:
            bpy.data.meshes.remove(unfinished)
        raise
    if undo:
        undo_push(f"Lathe: {item.name}")
    return str(item.name)


def _stand(item: Any, prepared: PreparedMesh, others: np.ndarray, first: bool) -> None:
    """Put a new object on the ground in free space and turn the viewport to it. first: show colours there as well."""
    world = np.array(item.matrix_world)
    box = standing.moved_box(prepared.box, world)
    shift = standing.standing(box, world[2, 3], others, standing.towards_viewer())
    world[:3, 3] += shift
    item.matrix_world = Matrix(world.tolist())
    item.lathe.stands = True
    standing.show(box + shift)
    if first and (prepared.texture or prepared.colors is not None):
        standing.show_colors("TEXTURE" if prepared.texture else "VERTEX")


def _replace_mesh(item: Any, mesh: Any) -> None:
    """Replace an object's mesh. Materials assigned by the user are kept; unused data of the old mesh is removed.

    An object that stands on the ground still does.
    """
    old = item.data
    for material in old.materials:
        if material is not None and not leftovers.is_ours(material):
            mesh.materials.append(material)
    if item.lathe.stands and len(old.vertices) and len(mesh.vertices):
        world = np.array(item.matrix_world)
        world[2, 3] += _foot(old, world) - _foot(mesh, world)
        item.matrix_world = Matrix(world.tolist())
    item.data = mesh
    if not old.users:
        name = old.name
        leftovers.remove_mesh(old)
        mesh.name = name


def _foot(mesh: Any, world: np.ndarray) -> float:
    """Return the height of a mesh's lowest point under a transform [4, 4]."""
    positions = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.attributes["position"].data.foreach_get("vector", positions)
    return float((positions.reshape(-1, 3) @ world[2, :3].astype(np.float32)).min() + world[2, 3])


def collection_of(scene: Any) -> Any:
    """Return the collection that new objects of a scene go to."""
    context = bpy.context
    if context.scene == scene and getattr(context, "collection", None) is not None:
        return context.collection
    return scene.collection


def select_alone(item: Any) -> None:
    """Make a new object the active and only selected one, unless the user is inside another object's mode."""
    layer = bpy.context.view_layer
    active = layer.objects.active
    if active is not None and active.mode != "OBJECT":
        return
    for other in list(layer.objects.selected):
        other.select_set(False)
    try:
        item.select_set(True)
    except RuntimeError:
        log.info("%s is in a collection that this view layer does not show", item.name)
    else:
        layer.objects.active = item


def undo_push(message: str) -> None:
    """Add an undo step. A timer has no window of its own, so the first one is used."""
    manager = bpy.context.window_manager
    windows = manager.windows if manager else ()
    with bpy.context.temp_override(window=windows[0]) if windows else bpy.context.temp_override():
        if bpy.ops.ed.undo_push.poll():
            bpy.ops.ed.undo_push(message=message)


def redraw() -> None:
    """Redraw the Lathe tabs and the image editors."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
            elif area.type == "IMAGE_EDITOR":
                area.tag_redraw()


def problem_object_mode(context: Any) -> str:
    """Return why objects cannot be added now, or an empty string."""
    return "" if context.mode == "OBJECT" else "Leave Edit Mode (Tab) first"
