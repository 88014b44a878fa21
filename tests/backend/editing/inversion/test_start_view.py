"""A pose regressor gives the view that an inversion starts from."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from addon.wire.errors import UnreadableFile
from backend.editing.inversion.start_view import estimated_view
from backend.training.judging.pose_regressor import SIDE, PoseErrors, PoseNetwork, PoseRegressor, save_regressor


def test_the_regressor_is_shown_the_photograph_over_white(tmp_path: Path) -> None:
    torch.manual_seed(0)
    unknown = PoseErrors(math.nan, math.nan, math.nan, math.nan, 0)
    regressor = PoseRegressor(PoseNetwork().eval(), unknown, 2.0, 0.5)
    save_regressor(tmp_path / "pose_regressor.safetensors", regressor)
    pixels = np.zeros((SIDE, SIDE, 4), np.uint8)
    pixels[16:40, 20:50] = (180, 90, 30, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    white = torch.full((1, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    white[0, :, 16:40, 20:50] = torch.tensor([180, 90, 30], dtype=torch.uint8)[:, None, None]
    found = estimated_view(tmp_path / "pose_regressor.safetensors", file.getvalue())
    assert found == pytest.approx(regressor(white)[0].tolist(), abs=1e-5)
    with pytest.raises(UnreadableFile, match="pose regressor"):
        estimated_view(tmp_path / "none.safetensors", file.getvalue())
