"""The Scene protocol: a field with bounds that can be evaluated, rendered, and differentiated.

Meshing, rendering, export and edits use this protocol alone, so that each works with every model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from addon.wire.messages import Bounds

from ..cameras import Camera, Rays
from ..progress import Progress, silent
from .trace import RayColors


@dataclass(frozen=True)
class FieldInfo:
    """The field of a Scene: its quantity, surface, bounds, and kind of gradients."""

    quantity: Literal["density", "sdf"]
    iso_level: float  # where the surface is: 1/metre for density, metres for sdf
    bounds: Bounds  # world box around the whole field, metres
    has_surface: bool = True
    has_color: bool = True
    lipschitz: float | None = None  # of an sdf: bound on |gradient|, None where unknown
    clamp: float | None = None  # an sdf truncated at ± this distance, metres; None if it is not
    image_space: bool = (
        False  # a 2D network makes the image: `image(camera)` is differentiable instead of `trace(rays)`
    )
    rough: bool = False  # a density fitted to images: its surface is that of its blurred opacity
    trace_psnr: float = 40.0  # dB: least agreement of trace (or image) with render, which may approximate


@dataclass(frozen=True)
class FieldSample:
    """value [...] (density 1/metre, or sdf in metres, negative inside); rgb [..., 3] sRGB 0..1, or None."""

    value: Tensor
    rgb: Tensor | None = None


@dataclass(frozen=True)
class Image:
    """rgb [H, W, 3] sRGB 0..1, not premultiplied by alpha; alpha [H, W]; depth [H, W] metres along the camera's
    z, inf where empty; normal [H, W, 3] world unit vectors, 0 where empty, or None. note: a sentence for the user,
    where what is shown is not quite what was asked for."""

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    normal: Tensor | None = None
    note: str = ""


class Scene(Protocol):
    """A field with bounds.

    Every scene is differentiable in one of two ways: by `trace(rays)` radiance fields and surfaces, by `image(camera)`
    models whose image comes out of a 2D network (`info.image_space`). A scene that a generator made with
    `differentiable=True` passes gradients to `ws` and to the weights of the network, too.
    """

    @property
    def info(self) -> FieldInfo:
        """The field's quantity, surface, bounds, and kind of gradients."""

    def field(self, points: Tensor, directions: Tensor | None = None) -> FieldSample:
        """Evaluate at world points [..., 3] (metres). Differentiable.

        directions: unit viewing directions [..., 3], or None for view-independent colour.
        """

    def trace(self, rays: Rays, *, samples: int | None = None, jitter: torch.Generator | None = None) -> RayColors:
        """Render world rays [...] by the reference path, differentiable in rays, ws and weights.

        samples: of a ray; None: the model's own number. jitter: stratified sampling; None: same inputs, same pixels.
        Raises NotSupported where `info.image_space` and single rays have no colour.
        """

    def image(self, camera: Camera, *, jitter: torch.Generator | None = None) -> RayColors:
        """Render a whole view [height, width] by the reference path, differentiable in the camera, ws and weights."""

    def render(
        self,
        camera: Camera,
        *,
        samples_per_ray: int | None = None,
        quality: Literal["draft", "full"] = "full",
        jitter: torch.Generator | None = None,
        progress: Progress = silent,
    ) -> Image:
        """Render one view. samples_per_ray=None: the model's own. quality="draft": an image of the same size, made
        with less work. Without gradients. jitter=None: same inputs, same image. Raises Cancelled through `progress`."""


def value_of(scene: Scene, points: Tensor) -> Tensor:
    """Return the value of a scene's field [...] at points [..., 3], by its own `value(points)` if it has such a way
    round its colours."""
    own = getattr(scene, "value", None)
    return scene.field(points).value if own is None else own(points)
