"""Evaluation of a scene against photographs: PSNR and SSIM of held-out views.

Photographs with alpha and the scene's renders are composited over the same colour, white unless said otherwise, as is
the custom with the NeRF-synthetic scenes. Photographs without alpha stay as they are, and the renders are composited
over the background that the fit assumed (`ModelCard.background`).

PSNR = −10 log10 of the mean squared error of sRGB values in 0..1; SSIM is that of Wang et al. 2004 with its Gaussian
window of 11 pixels (σ = 1.5). Where a view has a mask, PSNR counts the pixels of the mask, and SSIM compares both
images blanked outside of it.

A fit that learns the appearance of each image makes a scene in their mean; that of a held-out view is unknown. On
request each render is `color_corrected` to its photograph before they are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from ..progress import Progress, part, silent
from ..scenes.protocol import Image, Scene
from .cameras.alignment import aligned
from .datasets import Dataset, Pixels, View
from .fit.background_color import color_of

Appearance = Literal["none", "exposure", "color"]

MAX_PSNR = 100.0  # dB, of equal images
SSIM_WINDOW = 11


@dataclass(frozen=True)
class ViewScore:
    """Scores of one view."""

    name: str
    psnr: float  # dB
    ssim: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of several views, and their means."""

    psnr: float | None  # dB; None without views
    ssim: float | None
    views: tuple[ViewScore, ...]


def strided_view(view: View, stride: int) -> View:
    """Return a view of every stride-th pixel (odd), with the same pixel centers as `strided` pixels."""
    camera = view.camera
    scale = torch.tensor([[1 / stride], [1 / stride], [1.0]], dtype=camera.intrinsics.dtype)
    width, height = (len(range(stride // 2, size, stride)) for size in (camera.width, camera.height))
    return replace(view, camera=replace(camera, intrinsics=camera.intrinsics * scale, width=width, height=height))


def background_of(pixels: Pixels, background: str, background_color: str) -> np.ndarray:
    """Return the colour, sRGB 0..1 [3], that a render is composited over to be compared with an image: `background`
    where the image has alpha, else the `background_color` of the fit, black where that is empty."""
    name = background if pixels.has_alpha else background_color or "black"
    return np.array(color_of(name), np.float32)


def strided(pixels: Pixels, stride: int) -> Pixels:
    """Return every stride-th pixel (odd: the central one of each block), as the camera of `strided_view` sees them."""

    def every(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else np.ascontiguousarray(array[stride // 2 :: stride, stride // 2 :: stride])

    rgb = every(pixels.rgb)
    assert rgb is not None
    return Pixels(rgb, every(pixels.alpha), every(pixels.mask), every(pixels.depth))


def stride_for(view: View, size: int) -> int:
    """Return the smallest odd stride that makes the longer side of a view at most `size` pixels."""
    longer = max(view.camera.width, view.camera.height)
    return 2 * ((max(math.ceil(longer / size), 1)) // 2) + 1


def photograph(pixels: Pixels, background: np.ndarray | float) -> np.ndarray:
    """Return float32 [H, W, 3], sRGB 0..1, over a background [3] or grey."""
    rgb = pixels.rgb.astype(np.float32) / 255
    if pixels.alpha is None:
        return rgb
    alpha = pixels.alpha[..., None].astype(np.float32) / 255
    return np.asarray(rgb * alpha + background * (1 - alpha), np.float32)


def composited(image: Image, background: np.ndarray | float) -> np.ndarray:
    """Return a render over a background [3] or grey: float32 [H, W, 3], sRGB 0..1."""
    alpha = image.alpha[..., None]
    color = torch.as_tensor(background).to(image.rgb)
    rgb: np.ndarray = (image.rgb * alpha + color * (1 - alpha)).clamp(0, 1).float().cpu().numpy()
    return rgb


def color_corrected(
    image: Image,
    truth: np.ndarray,
    background: np.ndarray | float,
    appearance: Appearance,
    mask: np.ndarray | None = None,
) -> Image:
    """Return a render with the gain of each channel ("exposure") or the affine colour transform ("color") that brings
    it nearest to truth [H, W, 3] over the pixels of mask [H, W], by least squares."""
    if appearance == "none" or not bool(image.rgb.isfinite().all() and image.alpha.isfinite().all()):
        return image  # of a fit that diverged, which raises in its next step
    used = np.ones(truth.shape[:2], bool) if mask is None else mask
    alpha = image.alpha[..., None].cpu().double().numpy()
    colors = image.rgb.cpu().double().numpy()
    residual = (truth - (colors * alpha + background * (1 - alpha)))[used]
    inputs = (np.concatenate((colors, np.ones_like(alpha)), -1) * alpha)[used]
    matrix = np.eye(4, 3)
    if appearance == "exposure":
        for channel in range(3):
            power = np.square(inputs[:, channel]).sum()
            matrix[channel, channel] += (inputs[:, channel] @ residual[:, channel]) / power if power > 0 else 0.0
    else:
        matrix += np.linalg.lstsq(inputs, residual, rcond=1e-3)[0]  # undetermined entries stay as they are
    corrected = torch.from_numpy(colors @ matrix[:3] + matrix[3]).to(image.rgb)
    return replace(image, rgb=corrected.clamp(0, 1))


def decibels(squared_error: float) -> float:
    """Return the PSNR, dB, of a mean squared error of colours 0..1; at most MAX_PSNR."""
    return -10 * math.log10(max(squared_error, 10 ** (-MAX_PSNR / 10)))


def psnr(first: np.ndarray | Tensor, second: np.ndarray | Tensor, mask: np.ndarray | None = None) -> float:
    """Return the PSNR, dB, of two images [H, W, 3] in 0..1 over the pixels of mask [H, W]; at most MAX_PSNR."""
    error = (np.asarray(first, np.float64) - np.asarray(second, np.float64)) ** 2
    mean = float(error.mean() if mask is None else error[mask].mean()) if mask is None or mask.any() else 0.0
    return decibels(mean)


def ssim(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean structural similarity of two images [H, W, 3] in 0..1; small ones with a smaller window."""
    window = min(SSIM_WINDOW, *first.shape[:2])
    if window < SSIM_WINDOW:
        window -= 1 - window % 2
        options: dict[str, Any] = {"win_size": window}
    else:
        options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    if window < 3:
        return 1.0 if np.array_equal(first, second) else 0.0
    return float(structural_similarity(first, second, data_range=1.0, channel_axis=2, **options))


def score(name: str, rendered: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> ViewScore:
    """Compare two images [H, W, 3]."""
    found = psnr(rendered, truth, mask)
    if mask is not None:
        rendered, truth = (np.where(mask[..., None], image, np.float32(1)) for image in (rendered, truth))
    return ViewScore(name, found, ssim(rendered, truth))


def render_view(scene: Scene, view: View, device: torch.device, progress: Progress = silent, stride: int = 1) -> Image:
    """Render a scene through the camera of a view, at every stride-th pixel."""
    with torch.no_grad():
        return scene.render(strided_view(view, stride).camera.to(device), progress=progress)


def evaluate(
    scene: Scene,
    dataset: Dataset,
    views: Sequence[View],
    device: torch.device,
    *,
    background: Literal["white", "black"] = "white",
    background_color: str = "",
    refine_poses: bool = False,
    appearance: Appearance = "none",
    progress: Progress = silent,
    show: Callable[[View, np.ndarray, np.ndarray], None] | None = None,
) -> Evaluation:
    """Render and compare views at their full size.

    background_color: of the fit, see `background_of`. refine_poses: align each camera with its image first, as is the
    custom with scenes whose cameras were fitted too (see `alignment`). appearance: each render is `color_corrected`
    to its image. show: called with each view's render and truth, [H, W, 3] in 0..1.

    Raises:
        UnreadableFile, UnusableDataset: an image cannot be read.
    """
    scores = []
    for number, view in enumerate(views):
        step = part(progress, number / len(views), (number + 1) / len(views))
        pixels = dataset.load(view)
        color = background_of(pixels, background, background_color)
        if refine_poses:
            view = aligned(scene, view, pixels, device, background=color)
        truth = photograph(pixels, color)
        image = color_corrected(render_view(scene, view, device, step), truth, color, appearance, pixels.mask)
        rendered = composited(image, color)
        scores.append(score(view.name, rendered, truth, pixels.mask))
        if show is not None:
            show(view, rendered, truth)
    return mean(scores)


def mean(scores: Sequence[ViewScore]) -> Evaluation:
    """Return the scores of some views and their means."""
    if not scores:
        return Evaluation(None, None, ())
    return Evaluation(
        float(np.mean([found.psnr for found in scores])),
        float(np.mean([found.ssim for found in scores])),
        tuple(scores),
    )
