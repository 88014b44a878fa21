"""What both loops of EG3D share: cameras in the canonical frame, depth range, the mean of w, the model's card."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import torch
from torch import Tensor

from ...generators.eg3d.model import EG3D, EG3DConfig
from ...generators.eg3d.scene import WORLD_FROM_CANONICAL
from ...models.card import ModelCard
from ..adversarial.card import trained_card
from ..adversarial.processes import Processes
from ..data.object_box import object_box
from ..data.training_images import TrainingImages
from .config import EG3DTraining, SmallEG3DTraining

MEAN_W_DECAY = 0.998
"""Of the running mean of w, a step (that of StyleGAN2)."""


def canonical_cameras(data: TrainingImages, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return poses [n, 4, 4] in EG3D's canonical frame, and intrinsics [n, 3, 3] in units of the image's side."""
    assert data.world_from_camera is not None  # the recipe needs poses
    assert data.intrinsics is not None
    canonical_from_world = torch.tensor(WORLD_FROM_CANONICAL).T
    return (canonical_from_world @ data.world_from_camera).to(device), data.intrinsics.to(device)


def network_config(config: EG3DTraining | SmallEG3DTraining, data: TrainingImages) -> EG3DConfig:
    """Return the network's configuration: the depths around the unit sphere, of cameras as far as those of the data."""
    rendering, radius = config.generator.rendering, data.prior.radius
    if rendering.ray_start is not None:
        rendering = replace(rendering, ray_start=max(radius - 1, 0.01 * radius), ray_end=radius + 1)
    # The model's field of view is what its literals for √2 and π make of it (`scene.official_focal_length`)
    fov = math.degrees(2 * math.atan(2 / 1.414 * math.tan(data.prior.fov / 2)))
    rendering = replace(rendering, camera_radius=radius, fov_degrees=fov, white_back=data.background == "white")
    if isinstance(config, SmallEG3DTraining) and (box := object_box(data)) is not None:
        rendering = replace(rendering, ray_box=(box[0], box[2], box[1]))  # canonical: y up
    return replace(config.generator, rendering=rendering)


@torch.no_grad()
def follow_w(generator: EG3D, ws: Tensor, processes: Processes) -> None:
    """Update the running mean of w, which truncation pulls towards, by ws [batch, num_ws, w_dim] of all processes."""
    mean = ws[:, 0].detach().float().mean(dim=0)
    processes.average([mean])
    generator.mapping_network.w_mean.lerp_(mean, 1 - MEAN_W_DECAY)


def card(config: EG3DTraining | SmallEG3DTraining, data: TrainingImages, network: EG3DConfig) -> ModelCard:
    """Return the card of the model that a training of this network gives."""
    if isinstance(config, SmallEG3DTraining):
        network = replace(network, rendering=replace(network.rendering, depth_resolution=config.shown_samples))
    return trained_card(
        data, "eg3d", "EG3D", "{what} as tri-planes of features, learned from images with poses", asdict(network),
        f"Trained from {len(data.images)} images of {config.side}² pixels, loss: {config.loss} "
        "(backend/training/eg3d/train.py).",
    )  # fmt: skip
