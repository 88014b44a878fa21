"""Task `complete`: shape completion, the latent whose shape fits a partial scan."""

from __future__ import annotations

import time

import numpy as np
import torch

from addon.wire import payload
from addon.wire.errors import NotSupported, UnreadableFile
from addon.wire.messages import CodeBlob, CompleteRequest, LatentResult, ScanBlob

from ..progress import Progress, part
from ..scenes.capabilities import Completes
from .workspace import Workspace


def complete(request: CompleteRequest, progress: Progress, workspace: Workspace) -> LatentResult:
    """Fit a latent to the uploaded scan and store it under its sha256.

    Raises:
        NotSupported: the model has no family of shapes to complete from.
        UnreadableFile: the scan is not one, or lies elsewhere than the model's shapes.
    """
    started = time.perf_counter()
    model = workspace.generator(request.model, progress)
    if not isinstance(model, Completes) or "complete" not in model.info.capabilities:
        raise NotSupported(f"{model.info.label} cannot complete scans. Choose a DeepSDF model of a family of shapes.")
    blob: ScanBlob = workspace.blobs.read_message(request.blob, ScanBlob)
    points, normals, origins, notes = measured(blob, workspace.device)
    found = model.complete(
        points, normals, origins, iterations=request.iterations, seed=request.seed, progress=part(progress, 0.02, 1.0)
    )
    ws = found.ws.float().cpu().numpy()
    code = workspace.blobs.put(payload.pack(CodeBlob(ws)), keep=True)
    return LatentResult(ws, code, found.error, time.perf_counter() - started, notes)


def measured(
    blob: ScanBlob, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, tuple[str, ...]]:
    """Return points, normals and origins of a scan without the rows that are not finite, and a note on those."""
    given = {"points": blob.points, "normals": blob.normals, "origins": blob.origins}
    arrays = {name: array for name, array in given.items() if array is not None}
    for name, array in arrays.items():
        if array.ndim != 2 or array.shape != (len(blob.points), 3) or array.dtype.kind != "f":
            raise UnreadableFile(
                f"The scan's {name} must be [N, 3] numbers, as many as points, got {array.dtype} {list(array.shape)}."
            )
    finite = np.all([np.isfinite(array).all(1) for array in arrays.values()], axis=0)
    lost, total = int((~finite).sum()), len(finite)
    if lost == total:
        raise UnreadableFile("The scan holds no points that are finite numbers.")
    rows = {name: torch.tensor(array[finite], dtype=torch.float32, device=device) for name, array in arrays.items()}
    notes = (f"{lost} of {total} points of the scan are not finite, and were left out.",) if lost else ()
    return rows["points"], rows.get("normals"), rows.get("origins"), notes
