"""Mesh and point files are read here: OBJ, PLY, GLB, glTF, STL and OFF.

trimesh parses them. What it does not do is done before and after: pipes and files outside the folder are not opened,
compressed glTF is named, relative indices of OBJ are resolved, axes follow the format, vertices that are not finite are
left out, and coordinates far from the origin are moved near it in float64. Each is told in `notes`.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import trimesh
from numpy.typing import NDArray

from meshing.errors import CannotRead, UnknownFormat
from meshing.images import NotAnImage, kind_of, only_listed_formats, open_regular, reason
from meshing.mesh import Mesh
from meshing.offset import NONE, Offset, offset_of, shown
from meshing.progress import Progress, silent

Up = Literal["auto", "Y", "Z"]

FORMATS = (".obj", ".ply", ".glb", ".gltf", ".stl", ".off")
Y_UP = (".obj", ".glb", ".gltf")
Z_UP_FROM_Y_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)

KNOWN_EXTENSIONS = ("KHR_materials_", "KHR_texture_transform", "KHR_lights_punctual", "EXT_texture_webp")
"""Starts of glTF extensions that a mesh can be read without."""
COMPRESSIONS = {
    "KHR_draco_mesh_compression": "Draco-compressed: export it without compression (in Blender: glTF, Compression off)",
    "EXT_meshopt_compression": "meshopt-compressed: export it without compression (gltfpack: without -c)",
    "KHR_mesh_quantization": "quantized: export it with float positions (gltfpack: -noq)",
}


@dataclass(frozen=True)
class ReadMesh:
    """A mesh as it was read: Z up, metres; `offset` was taken off the file's coordinates (Z up); sentences."""

    mesh: Mesh
    offset: Offset = NONE
    notes: tuple[str, ...] = ()


def import_mesh(path: str | os.PathLike[str], *, up: Up = "auto", weld: bool = True) -> Mesh:
    """Return the mesh of a file, see `read_mesh`."""
    return read_mesh(path, up=up, weld=weld).mesh


def read_mesh(
    path: str | os.PathLike[str], *, up: Up = "auto", weld: bool = True, progress: Progress = silent
) -> ReadMesh:
    """Read a mesh as Z-up metres, with its normals, colours, UVs and texture where it has them.

    Args:
        path: ends in .obj, .ply, .glb, .gltf, .stl or .off; several parts become one mesh.
        up: which axis is up in the file; "auto": Y in OBJ, GLB and glTF, Z in the others.
        weld: join vertices at exactly the same place (formats split them at seams of the UVs). Normals are dropped
            where they differ.
        progress: called before and after reading.

    Raises:
        UnknownFormat: another ending.
        CannotRead: no such file, no mesh in it, or one that is compressed.
    """
    path = Path(path)
    progress(0.0, f"Reading {path.name}")
    geometry = _load(path)
    if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
        raise _cannot(path, "there are no faces in it")
    vertices = _turned(np.asarray(geometry.vertices, np.float64), path, up)
    keep, notes = _finite(vertices, np.asarray(geometry.faces))
    if not len(keep):
        raise _cannot(path, "no face of it has finite corners")
    offset = offset_of(vertices[np.unique(np.asarray(geometry.faces)[keep])])
    if any(offset):
        notes.append(f"The mesh lies far from the origin: {shown(offset)} was taken off its coordinates.")
    mesh = _mesh(geometry, np.nan_to_num(vertices - offset, posinf=0.0, neginf=0.0), keep, path, up)
    mesh = _used(mesh)
    progress(1.0, "Read")
    return ReadMesh(_welded(mesh) if weld else mesh, offset, tuple(notes))


def read_points(path: str | os.PathLike[str], *, up: Up = "auto") -> NDArray[np.float64]:
    """Return the points [N, 3] of a mesh or a point cloud, Z up, as they stand in the file: some may be not finite.

    Raises:
        UnknownFormat, CannotRead: see `read_mesh`.
    """
    path = Path(path)
    vertices = np.asarray(_load(path).vertices, np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or not len(vertices):
        raise _cannot(path, "there are no points in it")
    return _turned(vertices, path, up)


def _cannot(path: Path, why: str) -> CannotRead:
    return CannotRead(f"{path.name} cannot be read as a mesh: {why}. Export it again, as GLB or PLY.")


def _load(path: Path) -> Any:
    """Return what trimesh makes of a file: a Trimesh or a PointCloud. Raises UnknownFormat, CannotRead."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        listed = ", ".join(FORMATS[:-1])
        raise UnknownFormat(f'A mesh cannot be read from "{path.name}". Use {listed} or {FORMATS[-1]}.')
    only_listed_formats()  # textures are opened by trimesh
    try:
        with open_regular(path) as file:
            data = file.read()
        if not data:
            raise ValueError("it is empty")
        kind = kind_of(data[:32])
        if kind and kind != suffix[1:].upper():
            raise ValueError(f"it is a {kind} file, whatever its name says")
        if suffix in (".glb", ".gltf"):
            _check_extensions(data)
        if suffix == ".obj":
            data = _absolute_indices(data)
            if not re.search(rb"^[ \t]*f[ \t]", data, re.MULTILINE):
                return trimesh.PointCloud(_obj_points(data))
        loaded = trimesh.load(io.BytesIO(data), file_type=suffix[1:], process=False, resolver=_Beside(path.parent))
        return loaded.to_geometry() if isinstance(loaded, trimesh.Scene) else loaded
    except (MemoryError, CannotRead):
        raise
    except Exception as error:  # the readers of a dozen formats raise as many kinds
        raise _cannot(path, reason(error).rstrip(".")) from error


class _Beside(trimesh.resolvers.Resolver):
    """Files that a mesh names (materials, textures, buffers): regular ones within its folder alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.normpath(folder.absolute()))

    def get(self, name: str) -> bytes:
        path = Path(os.path.normpath(self.folder / name.strip().replace("\\", "/")))
        if "\0" in name or not path.is_relative_to(self.folder):
            raise NotAnImage(f"{name[:80]!r} lies outside its folder")
        with open_regular(path) as file:
            return file.read()

    def namespaced(self, namespace: str) -> _Beside:
        """Return the resolver of a folder below."""
        return _Beside(self.folder / namespace)

    def write(self, name: str, data: Any) -> None:
        """Refuse: nothing is written while reading."""
        raise OSError(f"{name!r} is not written")

    def keys(self) -> list[str]:
        """Return no names: nothing is searched for."""
        return []


def _check_extensions(data: bytes) -> None:
    """Raise CannotRead for glTF that needs what is not read, naming it."""
    text = data
    if data[:4] == b"glTF":
        (length,) = struct.unpack_from("<I", data, 12)
        text = data[20 : 20 + length]
    required = json.loads(text).get("extensionsRequired", [])
    for name in required if isinstance(required, list) else []:
        if not str(name).startswith(KNOWN_EXTENSIONS):
            what = COMPRESSIONS.get(str(name), f"made with the extension {str(name)[:60]}, which is not read")
            raise CannotRead(f"The file is {what}.")


def _absolute_indices(data: bytes) -> bytes:
    """Return an OBJ file whose faces count from its first vertex, also where they count back from the last one."""
    if not re.search(rb"^[ \t]*f\b[^\n]*[\s/]-\d", data, re.MULTILINE):
        return data
    counts = {b"v": 0, b"vt": 0, b"vn": 0}
    lines = []
    for line in data.replace(b"\\\n", b" ").split(b"\n"):
        words = line.split()
        if words and words[0] in counts:
            counts[words[0]] += 1
        elif words and words[0] == b"f":
            line = b" ".join([b"f", *(_absolute_corner(corner, tuple(counts.values())) for corner in words[1:])])
        lines.append(line)
    return b"\n".join(lines)


def _absolute_corner(corner: bytes, counts: tuple[int, ...]) -> bytes:
    numbers = corner.split(b"/")
    return b"/".join(
        b"%d" % (counts[place] + 1 + int(number)) if number.startswith(b"-") else number
        for place, number in enumerate(numbers[:3])
    )


def _obj_points(data: bytes) -> NDArray[np.float64]:
    """Return the vertices of an OBJ without faces."""
    rows = [line.split()[1:4] for line in data.split(b"\n") if line.split()[:1] == [b"v"]]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _is_y_up(path: Path, up: Up) -> bool:
    return up == "Y" or (up == "auto" and path.suffix.lower() in Y_UP)


def _turned(rows: NDArray[Any], path: Path, up: Up) -> NDArray[Any]:
    return rows @ Z_UP_FROM_Y_UP.T.astype(rows.dtype) if _is_y_up(path, up) else rows


def _finite(vertices: NDArray[np.float64], faces: NDArray[np.integer[Any]]) -> tuple[NDArray[np.intp], list[str]]:
    """Return the numbers of the faces with finite corners, and a note where there are others."""
    good = np.isfinite(vertices).all(1)[faces].all(1)
    lost = int((~good).sum())
    said = [f"{lost} of {len(faces)} faces have corners that are not finite, and were left out."] if lost else []
    return np.flatnonzero(good), said


def _mesh(geometry: Any, vertices: NDArray[np.float64], keep: NDArray[np.intp], path: Path, up: Up) -> Mesh:
    """Return the mesh of trimesh's geometry with these vertices and the kept faces."""
    faces = np.asarray(geometry.faces, np.int32)
    uvs = texture = colors = None
    visual = geometry.visual
    if isinstance(visual, trimesh.visual.TextureVisuals):
        if visual.uv is not None and len(visual.uv) == len(geometry.vertices):
            uvs = np.asarray(visual.uv, np.float32)[faces]
        material = visual.material
        image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if image is not None and uvs is not None:
            texture = np.asarray(image.convert("RGBA"))
        colors = visual.vertex_attributes.get("color") if hasattr(visual, "vertex_attributes") else None
    elif visual.defined and visual.kind == "vertex":
        colors = np.asarray(visual.vertex_colors, np.uint8)
    if colors is not None and (np.ndim(colors) != 2 or np.shape(colors)[1] != 4):
        colors = None
    normals = None
    if "vertex_normals" in geometry._cache.cache:
        normals = _turned(np.asarray(geometry.vertex_normals, np.float32), path, up)
    uvs = None if uvs is None else uvs[keep]
    return Mesh(vertices.astype(np.float32), faces[keep], normals, colors, uvs, texture)


def _used(mesh: Mesh) -> Mesh:
    """Return the mesh without vertices that no face uses."""
    used = np.unique(mesh.faces)
    if len(used) == len(mesh.vertices):
        return mesh
    numbers = np.zeros(len(mesh.vertices), np.int32)
    numbers[used] = np.arange(len(used), dtype=np.int32)
    per_vertex = {name: None if (rows := getattr(mesh, name)) is None else rows[used] for name in ("normals", "colors")}
    return replace(mesh, vertices=mesh.vertices[used], faces=numbers[mesh.faces], **per_vertex)


def _welded(mesh: Mesh) -> Mesh:
    places, first, numbers = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    if len(places) == len(mesh.vertices):
        return mesh
    numbers = numbers.reshape(-1).astype(np.int32)
    colors = None if mesh.colors is None else mesh.colors[first]
    return replace(mesh, vertices=places, faces=numbers[mesh.faces], normals=None, colors=colors)
