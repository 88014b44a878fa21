"""Task `fit_shape`: a signed-distance network fitted to one mesh and stored as a model."""

from __future__ import annotations

import time

import numpy as np

from addon.wire.errors import InvalidRequest, Remedy, UnreadableFile
from addon.wire.messages import FitShapeRequest, MeshBlob, ModelResult
from meshing import Mesh, outward

from ..folders import user_models
from ..generators.deepsdf.model import DecoderSpec
from ..generators.deepsdf.scene import constructor_of
from ..generators.deepsdf.single_shape import SINGLE_SPEC, fit_single
from ..models import card as cards
from ..models import store
from ..progress import Progress, part
from .workspace import Workspace

LARGEST = 1e6
"""Size of a mesh, metres, beyond which something is wrong with it or with its units."""

PRESETS = {"small": SINGLE_SPEC, "official": DecoderSpec(latent_size=0)}


def fit_shape(request: FitShapeRequest, progress: Progress, workspace: Workspace) -> ModelResult:
    """Fit the uploaded mesh and store the model; until then nothing is written.

    Raises:
        InvalidRequest: the name belongs to a model that was not made this way.
        UnreadableFile: the mesh is not one.
    """
    started = time.perf_counter()
    _check_free(request.name)
    blob: MeshBlob = workspace.blobs.read_message(request.blob, MeshBlob)
    vertices, faces = blob.vertices, blob.faces
    if vertices.ndim != 2 or vertices.shape[1] != 3 or vertices.dtype.kind != "f" or not np.isfinite(vertices).all():
        raise UnreadableFile(f"The mesh's vertices must be [V, 3] finite numbers, got {list(vertices.shape)}.")
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind != "i" or not len(faces):
        raise UnreadableFile(f"The mesh's faces must be at least one row of 3 whole numbers, got {list(faces.shape)}.")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise UnreadableFile(f"The mesh's faces name vertices outside 0..{len(vertices) - 1}.")
    if not np.ptp(vertices[faces], axis=(0, 1)).max() < LARGEST:
        raise UnreadableFile(f"The mesh is larger than {LARGEST:g} m: scale it down, or check its units.")
    mesh, notes = outward(Mesh(vertices, faces))
    if not mesh.area > 0:
        raise UnreadableFile("The mesh has no area: all its triangles are flat.")
    shape = fit_single(
        mesh.vertices, mesh.faces, spec=PRESETS[request.preset],
        steps=request.steps, seed=request.seed, device=workspace.device, progress=part(progress, 0.0, 0.98),
    )  # fmt: skip
    progress(0.98, "Storing the model")
    millimetres = 1000 * shape.loss * shape.model.metres_per_unit
    card = cards.ModelCard(
        kind="deepsdf",
        label=request.name,
        description=f"One shape, learned from a mesh of {len(faces)} triangles",
        licence="as the mesh it was learned from",
        non_commercial=False,
        constructor=constructor_of(shape.model),
        source="trained",
        metres_per_unit=shape.model.metres_per_unit,
        card=f"Preset {request.preset}, {request.steps} steps, seed {request.seed}. Mean error {millimetres:.2f} mm.\n"
        + "".join(f"- {note}\n" for note in notes),
        offset=list(blob.offset) if any(blob.offset) else [],
    )
    store.save_model(user_models() / request.name, card, shape.model.state_dict())
    return ModelResult(request.name, time.perf_counter() - started, notes)


def _check_free(name: str) -> None:
    folder = store.find_models().get(name)
    if folder is None:
        return
    card = cards.read_card(folder)
    if card.source != "trained" or card.constructor.get("rank") != 0:
        raise InvalidRequest(
            f"There is a model named {name!r} already that was not made by fitting a mesh. Choose another name.",
            remedy=Remedy("choose_name", "Choose another name"),
        )
