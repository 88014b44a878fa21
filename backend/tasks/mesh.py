"""Task `mesh`: the surface of a scene, cleaned, reduced, coloured, in the scene's own frame."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from addon.wire.errors import NoSurface, NotSupported, Remedy
from addon.wire.messages import MeshRequest, MeshResult
from meshing.bake import bake_texture
from meshing.cached_field import CachedField
from meshing.cleanup import CleanUp, clean
from meshing.color import vertex_colors
from meshing.decimate import decimate
from meshing.errors import LevelOutOfRange
from meshing.grid import Lattice, extract_surface
from meshing.mesh import Mesh
from meshing.normals import field_normals, smooth_normals
from meshing.opacity import BlurredOpacity
from meshing.smooth import smooth_surface
from meshing.uv import unwrap_uvs

from ..progress import Progress, part
from ..scenes.capabilities import MayBeEmpty
from ..scenes.protocol import Scene, value_of
from .workspace import Workspace

BATCH = 1 << 16  # points in one call of the field
CACHED_POINTS = 1 << 25  # largest lattice whose values are cached for another level: 128 MB
WHOLE_POINTS = 1 << 22  # largest lattice that is evaluated whole, so that another level needs no evaluation


def mesh(request: MeshRequest, progress: Progress, workspace: Workspace) -> MeshResult:
    """Extract the surface at the level; clean, reduce and colour it.

    Raises:
        NotSupported: the model has no surface.
        NoSurface: the level is crossed nowhere; a level in range is the remedy. Or the scene is empty.
        OutOfMemory: before the start, where the size could not fit.
    """
    started = time.perf_counter()
    info = workspace.generator(request.scene.model, progress).info
    if not info.has_surface:
        raise NotSupported(
            info.no_surface_reason or f"{info.label} has no surface to mesh.",
            remedy=Remedy("fit_views", "Fit a Radiance Field to Its Views", info.name),
        )
    # about 1 GB for extraction and clean-up at 512 cells, and 96 bytes for each texel
    workspace.check_memory("A mesh resolution of", request.resolution, _halves(request.resolution, 4096))
    if request.color == "texture":
        workspace.check_memory("A texture size of", request.texture_size, _halves(request.texture_size, 96))

    scene = workspace.scene(request.scene, progress, placed=False)
    if request.iso_level is None and isinstance(scene, MayBeEmpty) and scene.empty_reason:
        raise NoSurface(scene.empty_reason)
    cached = cached_field(request, scene, workspace, part(progress, 0.0, 0.5))
    level = request.iso_level
    if level is None:
        level = scene.info.iso_level
        if cached is not None and cached.known:  # a field after few steps may be thinner everywhere
            level = min(level, 0.5 * cached.range[1])
    begun = part(progress, 0.5 if cached else 0.0, 0.6)
    made = extract(scene, request.resolution, level, workspace.device, begun, cached)
    settings = CleanUp(least_fraction=request.minimum_component, measure="area", holes=request.fill_holes)
    made = clean(made, settings, progress=part(progress, 0.6, 0.68))
    if info.quantity == "density":
        made = smooth_surface(made, request.smoothing, scene.info.bounds, progress=part(progress, 0.68, 0.7))
    if 0 < request.target_faces < len(made.faces):
        made = decimate(made, max(request.target_faces, 4), progress=part(progress, 0.7, 0.75))
    if request.smooth_normals:
        made = smooth(made, scene, workspace.device, part(progress, 0.75, 0.78))
    made = colored(made, scene, request, workspace.device, part(progress, 0.78, 1.0))
    progress(1.0, "Done")
    return MeshResult(
        made.vertices, made.faces, made.normals, made.colors, made.uvs, made.texture,
        float(level), f"{info.label} {request.scene.latent.seed_a}", time.perf_counter() - started,
    )  # fmt: skip


def _halves(size: int, bytes_per_square: int) -> list[tuple[int, int]]:
    return [(size >> n, bytes_per_square * (size >> n) ** 2) for n in range(6) if size >> n >= 8]


def cached_field(request: MeshRequest, scene: Scene, workspace: Workspace, progress: Progress) -> CachedField | None:
    """Return the scene's density, with the values cached by the last request if that differed only in the level and in
    what comes after extraction; None for a signed distance, which has one level, and for too fine a lattice."""
    if scene.info.quantity != "density":
        return None

    def sampled() -> CachedField | None:
        field = evaluate(scene, workspace.device, values)
        lattice = Lattice.in_bounds(scene.info.bounds, request.resolution + 1)
        if np.prod(lattice.cells + 1.0) > CACHED_POINTS:
            return None
        return CachedField(field, scene.info.bounds, request.resolution + 1)

    found = workspace.cached_field(request.scene, request.resolution, sampled)
    if found is not None and np.prod(found.shape) <= WHOLE_POINTS:
        found.fill(BATCH, progress)
    return found


def extract(
    scene: Scene,
    resolution: int,
    level: float,
    device: torch.device,
    progress: Progress,
    cached: CachedField | None = None,
) -> Mesh:
    """Return the surface of a scene by marching cubes, closed where it leaves the bounds.

    cached: the scene's values at this resolution, in place of its field. With them, a rough density's surface is that
    of its blurred opacity.
    """
    info = scene.info
    if info.rough and cached is not None:
        blurred = BlurredOpacity(cached, info.iso_level, batch_size=BATCH, progress=part(progress, 0.0, 0.6))
        try:
            return extract_surface(
                blurred, info.bounds, resolution + 1, blurred.level_of(level),
                inside="positive", cap=True, batch_size=BATCH, progress=part(progress, 0.6, 1.0),
            )  # fmt: skip
        except LevelOutOfRange as error:
            low, high = (blurred.density_of(value) for value in error.observed)
            raise LevelOutOfRange(level, (low, high)) from error
    signed = info.quantity == "sdf"
    # without a Lipschitz bound, a signed distance is searched as a density is
    lipschitz = (info.lipschitz or math.inf) if signed else None
    return extract_surface(
        cached or evaluate(scene, device, values), info.bounds, resolution + 1, level,
        inside="negative" if signed else "positive", lipschitz=lipschitz, clamp=info.clamp, cap=True,
        relative=not signed, batch_size=BATCH, progress=progress,
    )  # fmt: skip


def smooth(made: Mesh, scene: Scene, device: torch.device, progress: Progress) -> Mesh:
    """Return the mesh with normals: for a signed distance its gradient; for a density, which is too rough near its
    surface for that, the mean of the faces around each vertex."""
    if scene.info.quantity != "sdf":
        return smooth_normals(made, progress=progress)
    return field_normals(made, evaluate(scene, device, values), batch_size=BATCH, progress=progress)


def colored(made: Mesh, scene: Scene, request: MeshRequest, device: torch.device, progress: Progress) -> Mesh:
    """Return the mesh with the requested colours; for a scene without colours, with texture coordinates alone."""
    color = evaluate(scene, device, colors)
    if request.color == "vertex" and scene.info.has_color:
        return vertex_colors(made, color, batch_size=BATCH, progress=progress)
    if request.color == "texture":
        made = unwrap_uvs(made, resolution=request.texture_size, progress=part(progress, 0.0, 0.5))
        if scene.info.has_color:
            progress_of_baking = part(progress, 0.5, 1.0)
            made = bake_texture(made, color, request.texture_size, batch_size=BATCH, progress=progress_of_baking)
    return made


def values(scene: Scene, points: Tensor) -> Tensor:
    """Return the values [...] of a scene's field at points [..., 3]."""
    return value_of(scene, points)


def colors(scene: Scene, points: Tensor) -> Tensor:
    """Return the colours [..., 3] of a scene's field at points [..., 3]. The scene has colours."""
    rgb = scene.field(points).rgb
    assert rgb is not None, "a scene whose info has colours gives them"
    return rgb


def evaluate(
    scene: Scene, device: torch.device, of: Callable[[Scene, Tensor], Tensor]
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return `values` or `colors` of the scene as numpy in, numpy out, without gradients."""

    def field(points: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            value = of(scene, torch.from_numpy(np.ascontiguousarray(points, np.float32)).to(device))
        array: NDArray[np.float32] = value.float().cpu().numpy()
        return array

    return field
