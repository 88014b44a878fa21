"""Meshes from fields: numpy in, numpy out, no torch.

A `field` maps world points [N, 3] (metres, Z up) to values [N]; `color` maps them to RGB. From there:

    mesh = extract_surface(field, bounds, resolution=256, iso_level=0.0)
    mesh = clean(mesh, CleanUp(least_fraction=0.01))
    mesh = decimate(mesh, 20_000)
    mesh = field_normals(mesh, field)
    mesh = bake_texture(unwrap_uvs(mesh), color)
    export_mesh(mesh, "chair.glb")

Each step takes `progress(fraction, text)`, which may raise to cancel, and leaves its input as it was.
"""

from meshing.bake import bake_texture
from meshing.cleanup import CleanUp, clean, component_labels, drop_degenerate, drop_small, fill_holes, keep_largest
from meshing.color import vertex_colors
from meshing.decimate import decimate
from meshing.errors import (
    CannotRead,
    CannotWrite,
    EmptySurface,
    InvalidField,
    InvalidGrid,
    InvalidMesh,
    LevelOutOfRange,
    MeshingError,
    UnknownFormat,
)
from meshing.grid import Lattice, extract_surface
from meshing.io import export_mesh
from meshing.mesh import Mesh
from meshing.normals import field_normals, smooth_normals
from meshing.orientation import outward
from meshing.progress import Progress
from meshing.read import ReadMesh, import_mesh, read_mesh, read_points
from meshing.smooth import smooth_surface
from meshing.uv import unwrap_uvs

__all__ = [
    "CannotRead",
    "CannotWrite",
    "CleanUp",
    "EmptySurface",
    "InvalidField",
    "InvalidGrid",
    "InvalidMesh",
    "Lattice",
    "LevelOutOfRange",
    "Mesh",
    "MeshingError",
    "Progress",
    "ReadMesh",
    "UnknownFormat",
    "bake_texture",
    "clean",
    "component_labels",
    "decimate",
    "drop_degenerate",
    "drop_small",
    "export_mesh",
    "extract_surface",
    "field_normals",
    "fill_holes",
    "import_mesh",
    "keep_largest",
    "outward",
    "read_mesh",
    "read_points",
    "smooth_normals",
    "smooth_surface",
    "unwrap_uvs",
    "vertex_colors",
]
