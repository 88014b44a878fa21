"""Networks that are trained on a data set once and kept in a folder: pose regressor and feature network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ...files import write_atomically
from ...progress import Progress, silent
from ..data.training_images import TrainingImages
from ..features import ImageFeatures, train_features
from .feature_networks import FeatureNetwork, own_network, small_images
from .pose_regressor import PoseRegressor, load_regressor, save_regressor, train_pose_regressor

REGRESSOR, FEATURES = "pose_regressor.safetensors", "features.safetensors"


def digest(images: Tensor) -> str:
    """Return a digest of images [n, 3, side, side] uint8: of their number, size, and about 64 of them."""
    some = images[:: max(1, len(images) // 64)].contiguous().cpu().numpy().tobytes()
    return hashlib.sha256(str(list(images.shape)).encode() + some).hexdigest()


def pose_regressor(
    data: TrainingImages, folder: Path, *, device: torch.device | str = "cpu", progress: Progress = silent
) -> PoseRegressor | None:
    """Return the pose regressor of a data set, from the folder or trained now; None for data without poses."""
    if data.world_from_camera is None:
        return None
    path = folder / REGRESSOR
    images = small_images(data.images, 64)
    trained_on = digest(images)
    if path.is_file() and (found := load_regressor(path)).trained_on == trained_on:
        return found
    made = train_pose_regressor(
        images, data.world_from_camera, data.objects, fov=data.prior.fov, trained_on=trained_on,
        device=device, progress=progress,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    save_regressor(path, made)
    return made


def feature_network(data: TrainingImages, folder: Path, progress: Progress = silent) -> FeatureNetwork:
    """Return the small feature network of a data set, from the folder or trained now."""
    path, images = folder / FEATURES, small_images(data.images, 64)
    trained_on, network = digest(images), ImageFeatures().eval().requires_grad_(False)
    try:
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("trained_on") == trained_on:
                network.load_state_dict(load_file(path))
                return own_network(network, images)
    except (OSError, SafetensorError, RuntimeError):
        pass  # there is none yet, or another version wrote it
    groups = torch.arange(len(images)) if data.objects is None else data.objects
    angles = None if data.world_from_camera is None else data.angles()
    network = train_features(images, groups, angles, progress=progress)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(network.state_dict(), {"trained_on": trained_on}))
    return own_network(network, images)
