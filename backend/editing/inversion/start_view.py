"""The view that an inversion starts from, as a trained pose regressor reads it off the photograph."""

from __future__ import annotations

from pathlib import Path

import torch

from ...generators.layers.encoder_image import read_image
from ...training.judging.pose_regressor import SIDE, load_regressor
from .photograph import prepare


def estimated_view(regressor: Path, photograph: bytes) -> tuple[float, float]:
    """Return azimuth and elevation, radians, by a pose_regressor.safetensors that `judge` wrote for the model's class.

    Raises UnreadableFile: the regressor or the photograph is none.
    """
    image = prepare(read_image(photograph, "photograph"), SIDE).over(1.0)
    azimuth, elevation = load_regressor(regressor)(image.permute(2, 0, 1)[None].to(torch.float32))[0].tolist()
    return azimuth, elevation
