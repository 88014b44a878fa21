"""Scribbles: strokes on views of a scene, and the change of its field that they ask for.

Every kind of edit is a change of density and colour in a *region* of space: what lies under the strokes of any view.
A *colour* stroke means the visible surface, a *remove* stroke all that its rays meet, an *add* stroke a layer at the
depth of the object beside it. Surfaces under *keep* strokes are in no region. Pixels of the changed field, from any
view, are what an edit of the weights then learns (backend/editing/optimise.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PIL
from torch import Tensor

from addon.wire.errors import InvalidRequest, UnreadableFile

from ..cameras import Camera
from ..nerf.datasets import images as image_files
from ..rendering import compositing
from ..scenes.protocol import Scene
from ..scenes.trace import RayColors
from .mixing import Samples
from .region import Kind, Region, StrokeView, first_view_of_conflict

SMALLEST, LARGEST = 8, 512
"""Sides of the views in pixels; larger ones are reduced."""
SEEN = 0.3
"""Alpha from which a pixel shows the object."""
REACH = 0.12
"""Depth of a region behind and before the visible surface, in units of half the scene's box."""
LIGHT = 0.01
"""Share of a ray's light in a region from which the change touches the ray."""
DIFFERENT = 0.25
"""Distance of two colours, sRGB, from which strokes of several views contradict each other."""


@dataclass(frozen=True)
class Scribble:
    """Strokes on one view."""

    camera: Camera
    strokes: Tensor  # bool [height, width]
    color: Tensor  # [height, width, 3] sRGB, of the strokes
    keep: Tensor  # bool [height, width]: nothing may change here


def read_strokes(path: Path, side: int | None = None) -> tuple[Tensor, Tensor]:
    """Read strokes painted on a transparent image: which pixels, bool [height, width], and colours [height, width, 3].

    side: the longer one, of images with more than `LARGEST` pixels a side and where it is given.

    Raises:
        UnreadableFile: no image, or one without alpha.
        InvalidRequest: too few pixels.
    """
    with image_files.reading(path, "image"), PIL.open(path) as opened:
        opened.load()
        image = image_files.to_8_bit(opened)
    if "A" not in image.getbands() and "transparency" not in image.info:
        raise UnreadableFile(
            f"{path.name} has no alpha, so that its strokes cannot be told from the rest: paint on a transparent image."
        )
    image = image.convert("RGBA")
    if min(image.size) < SMALLEST:
        raise InvalidRequest(f"{path.name} is {image.width} × {image.height}: strokes need at least {SMALLEST} pixels.")
    longest = max(image.size)
    wanted = min(side or longest, LARGEST)
    if longest != wanted:
        size = (max(image.width * wanted // longest, 1), max(image.height * wanted // longest, 1))
        image = image.resize(size, PIL.Resampling.NEAREST)
    pixels = torch.from_numpy(np.array(image)).float() / 255
    return pixels[..., 3] > 0.5, pixels[..., :3]


class Change:
    """The change of a scene's field that scribbles ask for."""

    def __init__(self, scene: Scene, scribbles: Sequence[Scribble], kind: Kind, *, paste: Scene | None = None) -> None:
        """paste: the scene whose field an *add* puts into the region, in place of a layer in the colour of the strokes.

        Raises InvalidRequest: strokes outside the object, on an empty view, or contradicting ones.
        """
        self.scene, self.kind, self.paste = scene, kind, paste
        low, high = scene.info.bounds
        reach = REACH * max(b - a for a, b in zip(low, high, strict=True)) / 2
        views = tuple(stroke_view(scene, scribble, kind, number) for number, scribble in enumerate(scribbles))
        self.region = Region(views, kind, reach, scene.info.bounds)
        conflict = first_view_of_conflict(views, self.region, DIFFERENT) if kind == "color" else None
        if conflict is not None:
            raise InvalidRequest(
                f"Views {conflict[0] + 1} and {conflict[1] + 1} paint the same place in different colours: erase one "
                "of the strokes, or make two edits."
            )

    @torch.no_grad()
    def difference(self, samples: Samples) -> tuple[RayColors, Tensor, Tensor]:
        """Return the difference [n] that the change makes to the pixels of rays [n], which rays it touches, and the
        changed density [n, S]."""
        inside, color = self.region.under_strokes(samples.points.reshape(-1, 3))
        inside, color = inside.reshape(samples.t.shape), color.reshape(samples.points.shape)
        density, rgb = samples.density, samples.rgb
        if self.kind == "remove":
            density = density * ~inside
        elif self.kind == "add":
            new = torch.full_like(density, 10 / self.region.reach)
            if self.paste is not None and inside.any():
                other = self.paste.field(*samples.along(inside))
                new = new.masked_scatter(inside, other.value)
                color = color if other.rgb is None else color.masked_scatter(inside[..., None], other.rgb)
            density = torch.where(inside, new, density)
        if self.kind != "remove":
            rgb = torch.where(inside[..., None], color, rgb)
        found = samples.difference(density, rgb)
        # light that samples of the region send or stop
        before, after = (
            compositing.weights_from_alpha(compositing.opacity(x, samples.step)) for x in (samples.density, density)
        )
        return found, (torch.maximum(before, after) * inside).sum(-1) > LIGHT, density


def stroke_view(scene: Scene, scribble: Scribble, kind: Kind, number: int) -> StrokeView:
    """Return a scribble with the depth of the scene behind it. Raises InvalidRequest where it cannot be meant."""
    which = f"view {number + 1}"
    if not scribble.camera.lens.is_pinhole:
        raise InvalidRequest(f"The camera of {which} has a lens that bends rays: paint on a view without distortion.")
    if not scribble.strokes.any():
        raise InvalidRequest(f"The strokes on {which} are empty: paint on the object first.")
    erased = scribble.strokes & scribble.keep
    if erased.sum() > 0.1 * scribble.strokes.sum():
        raise InvalidRequest(
            f"{int(erased.sum())} of the {int(scribble.strokes.sum())} pixels painted on {which} are marked to be "
            "kept, too: erase one of the two."
        )
    image = scene.render(scribble.camera)
    seen = (image.alpha > SEEN) & torch.isfinite(image.depth)
    if not seen.any():
        raise InvalidRequest(f"There is nothing on {which}: turn the camera to the object.")
    strokes = scribble.strokes & ~scribble.keep
    if kind == "add":
        depth = _spread(image.depth, seen)
    else:
        if not (strokes & seen).any():
            raise InvalidRequest(f"No stroke on {which} is on the object: paint over what it shows.")
        strokes, depth = strokes & seen, torch.where(seen, image.depth, torch.inf)
    return StrokeView(scribble.camera, strokes, scribble.keep & seen, depth, scribble.color)


def _spread(depth: Tensor, seen: Tensor) -> Tensor:
    """Return depth [H, W] with that of the nearest seen pixel where nothing is seen, found ring by ring."""
    filled, known = torch.where(seen, depth, torch.zeros_like(depth)), seen.float()
    while not bool((known > 0).all()):
        around = F.avg_pool2d((filled * known)[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
        count = F.avg_pool2d(known[None, None], 3, 1, 1, count_include_pad=False)[0, 0]
        new = (known == 0) & (count > 0)
        filled = torch.where(new, around / count.clamp(min=1e-9), filled)
        known = torch.where(new, torch.ones_like(known), known)
    return filled
