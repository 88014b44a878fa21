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
    points, normals, origins = (
        _rows(name, array, len(blob.points), workspace.device)
        for name, array in (("points", blob.points), ("normals", blob.normals), ("origins", blob.origins))
    )
    assert points is not None
    found = model.complete(
        points, normals, origins, iterations=request.iterations, seed=request.seed, progress=part(progress, 0.02, 1.0)
    )
    ws = found.ws.float().cpu().numpy()
    code = workspace.blobs.put(payload.pack(CodeBlob(ws)), keep=True)
    return LatentResult(ws, code, found.error, time.perf_counter() - started)


def _rows(name: str, array: np.ndarray | None, count: int, device: torch.device) -> torch.Tensor | None:
    if array is None:
        return None
    if array.shape != (count, 3) or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise UnreadableFile(f"The scan's {name} must be [{count}, 3] finite numbers, got {list(array.shape)}.")
    return torch.tensor(array, dtype=torch.float32, device=device)
