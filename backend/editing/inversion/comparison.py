"""Differences between the images of a generator and a photograph, at several sizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.errors import NotSupported

from ...cameras import Camera
from ...scenes.generator import Generator
from ...scenes.protocol import Scene
from ...scenes.trace import RayColors
from .photograph import Photograph
from .viewpoint import Viewpoint

SMALL = 32
"""Pixels a side of the images that find shape and camera."""

RAYS = 4096
"""Of a step, from a scene whose pixels are single rays: some pixels, drawn anew each time, where the image has more."""

BACKGROUND = 1.0
"""Grey behind images that are compared; also behind the opacity that is left over in a photograph."""

OPAQUE = 0.99


class Comparison:
    """A photograph that images of a generator are compared with.

    Differences are those of the images over white and of their opacities. A model that paints its own background is
    compared inside the photograph's mask alone.
    """

    def __init__(self, generator: Generator, photograph: Photograph, view: Viewpoint, seed: int = 0) -> None:
        """view: any, to find out what the generator's images are made of."""
        self.generator, self.photograph, self.info = generator, photograph, generator.info
        self.side = len(photograph.rgb)
        self.random = torch.Generator().manual_seed(seed)
        wanted = (
            photograph.rgb if photograph.alpha is None else torch.cat((photograph.rgb, photograph.alpha[..., None]), -1)
        )
        self.wanted = wanted.to(generator.device)
        self.small_wanted = _shrunk(self.wanted, min(SMALL, self.side))
        with torch.no_grad():
            scene = generator.synthesize(generator.mean_ws())
            self.traces = _traces(scene, view.camera(self.info, 1, generator.device))
            shown = scene.image(view.camera(self.info, len(self.small_wanted), generator.device))
        self.opaque = bool((shown.alpha > OPAQUE).all())

    def small(self, scene: Scene, view: Viewpoint) -> RayColors:
        """Return the image that finds shape and camera: of single rays where the model has them, for they are cheap."""
        camera = view.camera(self.info, len(self.small_wanted), self.generator.device)
        return scene.trace(camera.rays()) if self.traces else scene.image(camera)

    def small_difference(self, made: RayColors) -> Tensor:
        """Return the difference [n, n, channels] of a `small` image to the photograph."""
        return self._difference(made, self.small_wanted)

    def pixels(self, scene: Scene) -> Tensor | None:
        """Return indices of pixels for `difference`, drawn anew; None: all."""
        if scene.info.image_space or self.side**2 <= RAYS:
            return None
        return torch.randint(self.side**2, (RAYS,), generator=self.random).to(self.wanted.device)

    def difference(self, scene: Scene, view: Viewpoint, at: Tensor | None) -> Tensor:
        """Return the difference [..., channels] of the image to the photograph, at those `pixels`."""
        camera = view.camera(self.info, self.side, self.generator.device)
        if at is None:
            return self._difference(scene.image(camera), self.wanted)
        pixels = torch.stack((at % self.side, at // self.side), -1) + 0.5
        return self._difference(scene.trace(camera.rays(pixels)), self.wanted.flatten(0, 1)[at])

    def over_white(self, made: RayColors) -> Tensor:
        """Return an image [1, 3, height, width] as networks are shown it, −1..1; where the model paints its own
        background and the photograph has a mask, over the same white."""
        rgb = made.over(BACKGROUND)
        if self.opaque and self.photograph.alpha is not None:
            alpha = self.photograph.alpha.to(rgb)[..., None]
            rgb = rgb * alpha + (1 - alpha) * BACKGROUND
        return rgb.permute(2, 0, 1)[None] * 2 - 1

    @property
    def wanted_over_white(self) -> Tensor:
        """The photograph as `over_white` shows it."""
        return self.photograph.over(BACKGROUND).to(self.wanted).permute(2, 0, 1)[None] * 2 - 1

    @torch.no_grad()
    def psnr(self, scene: Scene, view: Viewpoint) -> float:
        """Return the agreement of `render` with the photograph over white, dB; inside the mask alone where the model
        paints its own background."""
        made = scene.render(view.camera(self.info, self.side, self.generator.device))
        alpha = made.alpha[..., None]
        shown = self.over_white(RayColors(made.rgb * alpha, made.alpha, made.alpha)).clamp(-1, 1)
        error = ((shown - self.wanted_over_white) / 2).square().mean()
        return float(-10 * torch.log10(error.clamp(min=1e-10)))

    @torch.no_grad()
    def overlap(self, scene: Scene, view: Viewpoint) -> float | None:
        """Return the intersection of the silhouettes over their union; None where there are none."""
        if self.photograph.alpha is None or self.opaque:
            return None
        made = scene.render(view.camera(self.info, self.side, self.generator.device)).alpha > 0.5
        wanted = self.photograph.alpha.to(made.device) > 0.5
        return float((made & wanted).sum() / (made | wanted).sum().clamp(min=1))

    def _difference(self, made: RayColors, wanted: Tensor) -> Tensor:
        if wanted.shape[-1] == 3:
            return made.over(BACKGROUND) - wanted
        rgb, alpha = wanted.split((3, 1), -1)
        if self.opaque:
            return made.rgb * alpha - rgb
        opacity = made.alpha[..., None] - alpha
        return torch.cat((made.rgb - rgb - opacity * BACKGROUND, opacity), -1)


def _shrunk(image: Tensor, side: int) -> Tensor:
    """Return an image [n, n, channels] as [side, side, channels], averaged."""
    return F.interpolate(image.permute(2, 0, 1)[None], (side, side), mode="area")[0].permute(1, 2, 0)


def _traces(scene: Scene, camera: Camera) -> bool:
    try:
        scene.trace(camera.rays())
    except (NotSupported, AttributeError):
        return False
    return True
