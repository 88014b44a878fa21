"""An edit from files: strokes on views of a model become a layer of an edited model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from addon.wire.errors import InvalidRequest
from addon.wire.messages import ModelInfo

from ..cameras import from_wire, intrinsics_from_fov, orbit
from ..models.card import read_card
from ..models.scene_file import is_scene_file, read_scene_card
from ..progress import Progress, silent
from ..scenes.generator import Generator
from .layers import Layer
from .optimise import Options, Result, edit
from .region import Kind
from .scene import KIND, EditedGenerator, base_of, write_stack
from .scribbles import Scribble, read_strokes


@dataclass(frozen=True)
class PaintedView:
    """Files of one view. angles: azimuth and elevation of the camera, radians; None takes the model's default."""

    strokes: Path
    angles: tuple[float | None, float | None] = (None, None)
    keep: Path | None = None


def scribble_of(info: ModelInfo, view: PaintedView) -> Scribble:
    """Return the strokes of a view. Raises InvalidRequest, UnreadableFile."""
    strokes, color = read_strokes(view.strokes)
    height, width = strokes.shape
    keep = torch.zeros_like(strokes)
    if view.keep is not None:
        keep, _ = read_strokes(view.keep)
        if keep.shape != strokes.shape:
            raise InvalidRequest(
                f"{view.keep.name} is {keep.shape[1]} × {keep.shape[0]}, the strokes are {width} × {height}: paint "
                "both on one view."
            )
    wire = orbit(info, height, azimuth=view.angles[0], elevation=view.angles[1])
    camera = replace(wire, width=width, intrinsics=intrinsics_from_fov(info.pose_prior.fov, width, height))
    return Scribble(from_wire(camera), strokes, color, keep)


def add_edit(
    model: Path,
    generator: Generator,
    ws: Tensor,
    views: Sequence[PaintedView],
    kind: Kind,
    out: Path,
    options: Options,
    *,
    controls: dict[str, float] | None = None,
    paste: Tensor | None = None,
    label: str = "",
    progress: Progress = silent,
) -> Result:
    """Edit the scene of a latent, and write the model with this edit on top of those it has, to the folder `out`.

    model: folder or scene file of the generator.

    Raises InvalidRequest, UnreadableFile, NotSupported, OutOfMemory, Diverged: see `edit`; CannotWrite.
    """
    if not views:
        raise InvalidRequest("An edit needs strokes on one view at least.")
    scribbles = [scribble_of(generator.info, view) for view in views]
    card = read_scene_card(model) if is_scene_file(model) else read_card(model)
    layers: list[Layer] = []
    base, base_sha256 = base_of(model)
    below, plain = None, generator
    if isinstance(generator, EditedGenerator):
        layers, plain, below = generator.layers, generator.base, generator.synthesize(ws, controls)
        base, base_sha256 = card.constructor["base"], card.constructor["base_sha256"]
    result = edit(plain, ws, scribbles, kind, options, controls=controls, paste=paste, below=below, progress=progress)
    result.layer = replace(result.layer, label=label)
    write_stack(out, base, base_sha256, card, [*layers, result.layer])
    assert card.kind == KIND or not layers
    return result
