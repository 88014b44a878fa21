"""Photometric training loss shared by all methods.

Vocabulary. The *background* is the colour behind a ray, seen through what the field or the image leaves transparent.
The *appearance* of an image is what its camera did to the colours: exposure, white balance, a tone curve.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from addon.wire.messages import FitOptions

from ...kernels.compositing import CompositedRays
from ...rendering.color import linear_from_srgb, srgb_from_linear
from .background_color import color_of
from .rays import RayBatch, TrainingRays

RATES = {"none": 0.0, "exposure": 1e-2, "color": 3e-3}
"""First learning rates: of the natural logarithm of a gain, or of an entry of a colour matrix."""


class Appearance:
    """Colour transform of each image's camera; the mean over all images is the identity.

    exposure: a gain for each channel, exp(e − mean e). color: an affine transform I + D − mean D, [3, 4], which also
    mixes channels and lifts the dark (after Urban Radiance Fields, arxiv.org/abs/2111.14643). Without subtracting the
    mean, a fit could make all images darker and the field brighter, and held-out views would show it.
    """

    def __init__(self, kind: Literal["none", "exposure", "color"], num_views: int, device: torch.device) -> None:
        self.kind, self.rate = kind, RATES[kind]
        shape = {"none": (0,), "exposure": (num_views, 3), "color": (num_views, 3, 4)}[kind]
        self.learnt = nn.Parameter(torch.zeros(shape, device=device))

    def groups(self) -> list[dict[str, Any]]:
        """Return the optimiser's parameter groups."""
        return [] if self.kind == "none" else [{"params": [self.learnt], "lr": self.rate}]

    def transform(self, rgb: Tensor, alpha: Tensor, views: Tensor) -> Tensor:
        """Return premultiplied colours [R, 3] with alpha [R] in the appearance of the images `views` [R]."""
        if self.kind == "none":
            return rgb
        own = (self.learnt - self.learnt.mean(0))[views]
        if self.kind == "exposure":
            return rgb * torch.exp(own)
        return rgb + (own @ torch.cat((rgb, alpha[:, None]), -1)[..., None])[..., 0]

    def tensors(self) -> dict[str, Tensor]:
        """Return the state that `restore` needs."""
        return {} if self.kind == "none" else {self.kind: self.learnt.data}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` returned. Raises KeyError or RuntimeError where they are of another fit."""
        if self.kind != "none":
            self.learnt.data.copy_(tensors[self.kind])


class PhotometricLoss:
    """Loss of rays by the options of a fit."""

    def __init__(
        self,
        options: FitOptions,
        rays: TrainingRays,
        background: str,
        difference: Callable[[Tensor, Tensor], Tensor],
        *,
        alpha: bool,
    ) -> None:
        """background: a colour's name (see `background_color`), random or transparent. difference: mean loss over
        colours or alphas. alpha: they are compared too."""
        self.options, self.background, self.device = options, background, rays.device
        self.appearance = Appearance(options.appearance, len(rays.poses), rays.device)
        self._difference, self._alpha = difference, alpha

    def background_colors(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the colour behind each ray [count, 3], sRGB; random where transparency is to be learnt."""
        if self.background in ("random", "transparent"):
            return torch.rand(count, 3, generator=generator).to(self.device)
        return torch.tensor(color_of(self.background), device=self.device).expand(count, 3)

    def loss(
        self,
        batch: RayBatch,
        pixels: CompositedRays,
        background: Tensor,
        size: float,
        *,
        background_in_image: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Return the loss, and the mean squared error of the colours without gradient.

        pixels: as composited, in sRGB or linear as the options say, with t and distortion in parts of `size` (metres).
        background: [R, 3] sRGB.
        background_in_image: the images, which have no alpha, show the background, in the appearance of their cameras.
        """
        options, linear = self.options, self.options.color_space == "linear"
        target, alpha, opacity = batch.rgb, batch.alpha[:, None], pixels.alpha[:, None]
        if linear:
            target, background = linear_from_srgb(target), linear_from_srgb(background)
        if background_in_image:
            rgb = pixels.rgb + (1 - opacity) * background
            rgb = self.appearance.transform(rgb, torch.ones_like(pixels.alpha), batch.views)
        else:
            rgb = self.appearance.transform(pixels.rgb, pixels.alpha, batch.views) + (1 - opacity) * background
            target = target * alpha + background * (1 - alpha)
        if linear:  # composited in linear light, compared in sRGB: an error in the dark counts as one in the bright
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
            # weighted by the image's alpha: by the field's, an empty field would be at every depth
            error_of_depth = (pixels.t - distance.nan_to_num() * batch.alpha)[known]
            total = smooth_l1_loss(error_of_depth, torch.zeros_like(error_of_depth), beta=0.01, reduction="sum")
            loss = loss + options.depth_weight * total / max(len(error_of_depth), 1)  # a batch may have none
        return loss, error
