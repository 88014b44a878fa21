"""Configurations of EditNeRF training: the paper's, and the starter model's."""

from __future__ import annotations

from dataclasses import dataclass

from ...generators.editnerf.model import EditNeRFConfig


@dataclass(frozen=True)
class EditNeRFTraining:
    """One training run. Stored whole in its checkpoint."""

    model: EditNeRFConfig
    side: int = 64  # of the images, pixels
    objects: int = 0  # the first ones of the data; 0: all
    steps: int = 10_000
    instances_per_step: int = 16
    rays_per_instance: int = 64
    network_rate: float = 2e-3  # Adam, with a cosine decay from here …
    code_rate: float = 5e-3
    final_rate: float = 0.01  # … to this fraction
    rate_warmup: int = 200  # steps
    code_std: float = 0.3  # of the initial codes
    code_weight: float = 1e-4  # of their squared norm
    alpha_weight: float = 0.5  # of the squared error of alpha, where the images have some
    hull_resolution: int = 64  # cells of the visual hull along a side; 0: no hull
    empty_points: int = 32  # outside the hull, of each instance and step
    empty_weight: float = 0.5  # of their opacity
    seed: int = 0


def official() -> EditNeRFTraining:
    """The networks and the samples of the paper: 256 wide, a coarse and a fine field, for a GPU."""
    return EditNeRFTraining(
        EditNeRFConfig(), side=128, steps=1_000_000, instances_per_step=1, rays_per_instance=1024,
        network_rate=5e-4, code_rate=5e-4, code_weight=0.0, hull_resolution=0,
    )  # fmt: skip


def small() -> EditNeRFTraining:
    """The starter model: one field, 128 wide, learnt inside the visual hulls of the first 300 objects."""
    model = EditNeRFConfig(
        embedding_dim=64, shared_layers=2, shared_width=64, instance_layers=3, instance_width=128, fusion_layers=2,
        fusion_width=128, bottleneck=16, color_width=64, point_frequencies=6, direction_frequencies=1, num_samples=48,
        num_fine=0, image_size=64,
    )  # fmt: skip
    return EditNeRFTraining(model, objects=300)
