"""Image features of chairs: they learn pose and identity."""

from __future__ import annotations

import numpy as np
import torch

from backend.training import features


def _views(chairs: int = 8) -> dict[str, np.ndarray]:
    """Chairs that are a bar at a place given by the azimuth, in one colour for each set of materials."""
    random = np.random.default_rng(0)
    azimuths = random.uniform(-1, 1, (chairs, 24)).astype(np.float32)
    images = np.full((chairs, 24, 64, 64, 3), 255, np.uint8)
    for chair in range(chairs):
        for view in range(24):
            if view % 6 == 0:
                color = random.integers(0, 255, 3)
            x = int(32 + 20 * azimuths[chair, view])
            images[chair, view, 10:54, x - 6 : x + 6] = color
    return {"images": images, "azimuths": azimuths, "elevations": np.zeros_like(azimuths)}


def test_features_learn_pose_and_identity() -> None:
    views = _views()
    network = features.train_features(*features.chairs(views), steps=100)
    images = features.as_input(views["images"])
    found = features.features_of(network, images)
    error = network.azimuths(found) - torch.from_numpy(views["azimuths"]).flatten()
    assert error.abs().mean() < 0.3  # guessing gives 0.5
    same, other = features.identity_ratio(images.view(8 * 4, 6, 3, 64, 64), network)
    assert same < 0.7 * other
