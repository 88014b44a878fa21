"""What a fit compares: rays as the field shows them with the same rays as the pictures do. Every method lowers this.

Vocabulary. *Behind* is the colour behind a ray, seen through what the field or the picture leaves transparent. The
*appearance* of a picture is what its camera did to the colours: exposure, white balance, a tone curve.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from addon.wire.messages import FitOptions

from ...kernels.compositing import Pixels
from ...rendering.color import linear_from_srgb, srgb_from_linear
from .background_color import color_of
from .rays import RayBatch, TrainingRays

RATES = {"none": 0.0, "exposure": 1e-2, "color": 3e-3}
"""Of learning: of a gain's natural logarithm, or of an entry of a colour matrix, in the first steps."""


class Appearance:
    """What the camera of each picture did to its colours; the mean over all pictures is to do nothing.

    exposure: a gain for each channel, exp(e − mean e). color: an affine transform I + D − mean D, [3, 4], which also
    mixes channels and lifts the dark (after Urban Radiance Fields, arxiv.org/abs/2111.14643). Without the
    mean a fit could make all pictures darker and the field brighter, and views held back would show it.
    """

    def __init__(self, kind: Literal["none", "exposure", "color"], num_views: int, device: torch.device) -> None:
        self.kind, self.rate = kind, RATES[kind]
        shape = {"none": (0,), "exposure": (num_views, 3), "color": (num_views, 3, 4)}[kind]
        self.learnt = nn.Parameter(torch.zeros(shape, device=device))

    def groups(self) -> list[dict[str, Any]]:
        """What an optimiser is to learn beside the field."""
        return [] if self.kind == "none" else [{"params": [self.learnt], "lr": self.rate}]

    def seen(self, rgb: Tensor, alpha: Tensor, views: Tensor) -> Tensor:
        """Return premultiplied colours [R, 3] with alpha [R] as the pictures `views` [R] have them."""
        if self.kind == "none":
            return rgb
        own = (self.learnt - self.learnt.mean(0))[views]
        if self.kind == "exposure":
            return rgb * torch.exp(own)
        return rgb + (own @ torch.cat((rgb, alpha[:, None]), -1)[..., None])[..., 0]

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` needs."""
        return {} if self.kind == "none" else {self.kind: self.learnt.data}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned. Raises KeyError or RuntimeError where they are of another fit."""
        if self.kind != "none":
            self.learnt.data.copy_(tensors[self.kind])


class PhotometricLoss:
    """The loss of rays, as the options of a fit say."""

    def __init__(
        self,
        options: FitOptions,
        rays: TrainingRays,
        background: str,
        difference: Callable[[Tensor, Tensor], Tensor],
        *,
        alpha: bool,
    ) -> None:
        """background: a colour's name (see `backdrop`), random or transparent. difference: the mean over colours, or
        over alphas. alpha: they are compared too."""
        self.options, self.background, self.device = options, background, rays.device
        self.appearance = Appearance(options.appearance, len(rays.poses), rays.device)
        self._difference, self._alpha = difference, alpha

    def behind(self, count: int, generator: torch.Generator) -> Tensor:
        """The colour behind each ray [count, 3], sRGB: another each time where transparency is to be learnt."""
        if self.background in ("random", "transparent"):
            return torch.rand(count, 3, generator=generator).to(self.device)
        return torch.tensor(color_of(self.background), device=self.device).expand(count, 3)

    def loss(
        self, batch: RayBatch, pixels: Pixels, behind: Tensor, size: float, *, photographed: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return what is lowered, and the squared error of the colours.

        pixels: as composited, in sRGB or linear as the options say, with t and distortion in parts of `size` (metres).
        photographed: what is behind is in the pictures, which have no alpha, as their cameras saw it.
        """
        options, linear = self.options, self.options.color_space == "linear"
        target, alpha, opacity = batch.rgb, batch.alpha[:, None], pixels.alpha[:, None]
        if linear:
            target, behind = linear_from_srgb(target), linear_from_srgb(behind)
        if photographed:
            rgb = pixels.rgb + (1 - opacity) * behind
            rgb = self.appearance.seen(rgb, torch.ones_like(pixels.alpha), batch.views)
        else:
            rgb = self.appearance.seen(pixels.rgb, pixels.alpha, batch.views) + (1 - opacity) * behind
            target = target * alpha + behind * (1 - alpha)
        if linear:  # light is composited, but compared as it is seen: an error in the dark counts as one in the bright
            rgb, target = srgb_from_linear(rgb), srgb_from_linear(target)
        loss = self._difference(rgb, target)
        error = (rgb - target).detach().square().mean()
        if self._alpha:
            loss = loss + self._difference(pixels.alpha, batch.alpha)
        if options.opacity_weight:
            loss = loss + options.opacity_weight * (pixels.alpha * (1 - pixels.alpha)).mean()
        if options.distortion_weight:
            loss = loss + options.distortion_weight * pixels.distortion.mean()
        if options.depth_weight and batch.depth is not None:
            distance = batch.distance() / size
            known = distance.isfinite()
            # of the picture's own alpha: with the field's, nothing at all would be at every depth
            missed = (pixels.t - distance.nan_to_num() * batch.alpha)[known]
            total = smooth_l1_loss(missed, torch.zeros_like(missed), beta=0.01, reduction="sum")
            loss = loss + options.depth_weight * total / max(len(missed), 1)  # of a batch, none may be known
        return loss, error
