"""Mesh files are written here: OBJ, PLY and GLB.

Inside, meshes are Z-up metres. GLB is Y-up metres by its standard and OBJ by custom (Blender's importer expects it);
PLY has no rule and stays Z-up, as scanners write it. A file appears whole or not at all, under its final name last.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meshing.color import linear_from_srgb
from meshing.errors import CannotWrite, UnknownFormat
from meshing.mesh import Floats, Ints, Mesh
from meshing.progress import Progress, silent
from meshing.read import Up

# column vectors: (x, y, z) Z-up is (x, z, -y) Y-up
Y_UP_FROM_Z_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
LINES = 1 << 16  # lines of text made at a time


def export_mesh(
    mesh: Mesh, path: str | os.PathLike[str], *, up: Up = "auto", progress: Progress = silent
) -> list[Path]:
    """Write a mesh to a file in the format of its extension, and return the files written, the mesh itself last.

    | ending | up | carries |
    |---|---|---|
    | .obj | Y, or Z if asked | positions, normals, vertex colours (sRGB floats), UVs; .mtl and .png beside it |
    | .ply | Z, or Y if asked | binary little-endian: positions, normals, red green blue (alpha) uchar; no texture |
    | .glb | Y, always | everything; colours linear as the standard asks, the texture as PNG inside |

    Raises:
        UnknownFormat: another ending, or a GLB with Z up.
        CannotWrite: no such folder, no permission, disk full. Nothing is left behind.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise UnknownFormat(
            f'A mesh cannot be written as "{suffix or path.name}". '
            f"Use a name that ends in {', '.join(sorted(_WRITERS))}.",
            remedy={"action": "set_format", "label": "Use GLB", "value": "glb"},
        )
    if up not in ("auto", "Y", "Z"):
        raise UnknownFormat(f'up must be "auto", "Y" or "Z", got {up!r}.')
    if suffix == ".glb" and up == "Z":
        raise UnknownFormat("GLB is Y-up by its standard; readers turn it. Use OBJ or PLY for a file that is Z-up.")
    y_up = up == "Y" or (up == "auto" and suffix in (".obj", ".glb"))
    progress(0.0, f"Writing {path.name}")
    contents = _WRITERS[suffix](mesh, path, y_up, progress)
    return write_atomically(contents, progress)


def write_atomically(contents: dict[Path, bytes], progress: Progress = silent) -> list[Path]:
    """Write files so that each appears whole or not at all: to temporary names first, renamed when all are there.

    Raises:
        CannotWrite: with the message of the system. No partial file is left.
    """
    temporary: list[Path] = []
    try:
        try:
            for path, data in contents.items():
                handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
                temporary.append(Path(name))
                with os.fdopen(handle, "wb") as file:
                    view = memoryview(data)
                    for start in range(0, max(len(view), 1), 1 << 24):
                        progress(0.9, f"Writing {path.name}")
                        file.write(view[start : start + (1 << 24)])
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(name, 0o666 & ~_umask())
            progress(1.0, "Putting the file in place")
            for part, path in zip(temporary, contents):
                os.replace(part, path)
        except OSError as error:
            folder = next(iter(contents)).parent
            raise CannotWrite(
                f"{error.filename or folder} cannot be written: {error.strerror or error}. "
                "Choose a folder that exists, is yours to write to and has space.",
                remedy={"action": "choose_folder", "label": "Choose a folder", "value": None},
            ) from error
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)
    return list(contents)


def _turned(mesh: Mesh, rotation: Floats) -> Mesh:
    return Mesh(
        mesh.vertices @ rotation.T,
        mesh.faces,
        None if mesh.normals is None else mesh.normals @ rotation.T,
        mesh.colors,
        mesh.uvs,
        mesh.texture,
    )


def _split(mesh: Mesh) -> tuple[NDArray[np.int64], Floats | None, Ints]:
    """Vertices split where texture coordinates differ: (old vertex [N], uvs [N, 2] or None, faces [F, 3])."""
    if mesh.uvs is None:
        return np.arange(len(mesh.vertices)), None, mesh.faces
    corners = mesh.faces.reshape(-1).astype(np.int64)
    uvs = np.ascontiguousarray(mesh.uvs.reshape(-1, 2) + np.float32(0))  # -0 is 0
    place = np.unique(uvs.view(np.uint64).reshape(-1), return_inverse=True)[1].reshape(-1).astype(np.int64)
    _, first, numbers = np.unique(place * len(mesh.vertices) + corners, return_index=True, return_inverse=True)
    return corners[first], uvs[first], numbers.reshape(-1, 3).astype(np.int32)


def _png(mesh: Mesh) -> bytes:
    assert mesh.texture is not None
    opaque = bool((mesh.texture[..., 3] == 255).all())
    buffer = io.BytesIO()
    Image.fromarray(mesh.texture[..., :3] if opaque else mesh.texture).save(buffer, "PNG")
    return buffer.getvalue()


def _lines(template: str, rows: NDArray, progress: Progress, start: float, end: float) -> list[str]:
    out: list[str] = []
    for first in range(0, len(rows), LINES):
        progress(start + (end - start) * first / len(rows), "Writing the mesh")
        out.extend(template % tuple(row) for row in rows[first : first + LINES].tolist())
    return out


def _obj(mesh: Mesh, path: Path, y_up: bool, progress: Progress) -> dict[Path, bytes]:
    turned = _turned(mesh, Y_UP_FROM_Z_UP) if y_up else mesh
    contents: dict[Path, bytes] = {}
    lines = ["# Latent Lathe"]
    material = path.stem.replace(" ", "_")
    if mesh.texture is not None and mesh.uvs is not None:
        image, library = path.with_name(f"{material}.png"), path.with_name(f"{material}.mtl")
        contents[image] = _png(mesh)
        contents[library] = (
            f"newmtl {material}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nd 1\nillum 1\nmap_Kd {image.name}\n".encode()
        )
        lines += [f"mtllib {library.name}", f"usemtl {material}"]
    if mesh.colors is None:
        lines += _lines("v %.9g %.9g %.9g", turned.vertices, progress, 0.0, 0.4)
    else:
        rows = np.concatenate([turned.vertices.astype(np.float64), mesh.colors[:, :3] / 255], axis=1)
        lines += _lines("v %.9g %.9g %.9g %.5g %.5g %.5g", rows, progress, 0.0, 0.4)
    columns = [mesh.faces + 1]
    template = "%d"
    if mesh.uvs is not None:
        places, numbers = np.unique(mesh.uvs.reshape(-1, 2), axis=0, return_inverse=True)
        lines += _lines("vt %.9g %.9g", places, progress, 0.4, 0.5)
        columns.append(numbers.reshape(-1, 3) + 1)
        template = "%d/%d"
    if turned.normals is not None:
        lines += _lines("vn %.6g %.6g %.6g", turned.normals, progress, 0.5, 0.6)
        columns.append(mesh.faces + 1)
        template += "/%d" if mesh.uvs is not None else "//%d"
    rows = np.stack(columns, axis=2).reshape(len(mesh.faces), -1)
    lines += _lines("f " + " ".join([template] * 3), rows, progress, 0.6, 0.9)
    contents[path] = ("\n".join(lines) + "\n").encode()
    return contents


def _ply(mesh: Mesh, path: Path, y_up: bool, progress: Progress) -> dict[Path, bytes]:
    turned = _turned(mesh, Y_UP_FROM_Z_UP) if y_up else mesh
    fields = [(name, "<f4") for name in "xyz"]
    values: list[NDArray] = [*turned.vertices.T]
    if turned.normals is not None:
        fields += [(name, "<f4") for name in ("nx", "ny", "nz")]
        values += [*turned.normals.T]
    if mesh.colors is not None:
        channels = ["red", "green", "blue"] + (["alpha"] if (mesh.colors[:, 3] != 255).any() else [])
        fields += [(name, "u1") for name in channels]
        values += [*mesh.colors.T[: len(channels)]]
    vertices = np.empty(len(mesh.vertices), fields)
    for (name, _), column in zip(fields, values):
        vertices[name] = column
    progress(0.5, "Writing the mesh")
    faces = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", (3,))])
    faces["count"] = 3
    faces["corners"] = mesh.faces
    kinds = {"<f4": "float", "u1": "uchar"}
    header = "\n".join(
        [
            "ply",
            "format binary_little_endian 1.0",
            "comment Latent Lathe",
            f"element vertex {len(vertices)}",
            *(f"property {kinds[kind]} {name}" for name, kind in fields),
            f"element face {len(faces)}",
            "property list uchar int vertex_indices",
            "end_header\n",
        ]
    )
    return {path: header.encode() + vertices.tobytes() + faces.tobytes()}


def _glb(mesh: Mesh, path: Path, y_up: bool, progress: Progress) -> dict[Path, bytes]:
    """glTF 2.0, binary: a JSON chunk and a chunk of arrays (registry.khronos.org/glTF/specs/2.0)."""
    turned = _turned(mesh, Y_UP_FROM_Z_UP)
    old, uvs, faces = _split(turned)
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    blob = bytearray()

    def view(data: bytes, target: int | None) -> int:
        blob.extend(b"\0" * (-len(blob) % 4))
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(data)})
        if target is not None:
            views[-1]["target"] = target
        blob.extend(data)
        return len(views) - 1

    def accessor(array: NDArray, kind: str, target: int = 34962, **extra: Any) -> int:
        component = {"f": 5126, "I": 5125, "H": 5123}[array.dtype.char]
        accessors.append(
            {
                "bufferView": view(array.tobytes(), target),
                "componentType": component,
                "count": len(array),
                "type": kind,
                **extra,
            }
        )
        return len(accessors) - 1

    positions = turned.vertices[old]
    bounds = {"min": positions.min(0).tolist(), "max": positions.max(0).tolist()} if len(positions) else {}
    attributes = {"POSITION": accessor(positions, "VEC3", **bounds)}
    if turned.normals is not None:
        attributes["NORMAL"] = accessor(turned.normals[old], "VEC3")
    if uvs is not None:
        attributes["TEXCOORD_0"] = accessor(
            uvs * np.array([1, -1], np.float32) + np.array([0, 1], np.float32), "VEC2"
        )  # v runs down
    if mesh.colors is not None:
        colors = mesh.colors[old] / 255.0
        colors[:, :3] = linear_from_srgb(colors[:, :3])
        attributes["COLOR_0"] = accessor(np.rint(colors * 65535).astype(np.uint16), "VEC4", normalized=True)
    progress(0.5, "Writing the mesh")
    indices = accessor(faces.reshape(-1).astype(np.uint32), "SCALAR", 34963)
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Latent Lathe"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": path.stem}],
        "meshes": [{"name": path.stem, "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [{"name": path.stem, "pbrMetallicRoughness": surface}],
        "accessors": accessors,
        "bufferViews": views,
    }
    if mesh.texture is not None and uvs is not None:
        document["images"] = [{"bufferView": view(_png(mesh), None), "mimeType": "image/png"}]
        document["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        document["textures"] = [{"source": 0, "sampler": 0}]
        surface["baseColorTexture"] = {"index": 0}
    blob.extend(b"\0" * (-len(blob) % 4))
    document["buffers"] = [{"byteLength": len(blob)}]
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(blob))
    return {
        path: head
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(blob), b"BIN\0")
        + bytes(blob)
    }


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


_WRITERS: dict[str, Callable[[Mesh, Path, bool, Progress], dict[Path, bytes]]] = {
    ".obj": _obj,
    ".ply": _ply,
    ".glb": _glb,
}
