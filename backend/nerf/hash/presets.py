"""Training settings of a hash field, and the presets of the user."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Training:
    """Table, schedule and sampling of a training run."""

    log2_size: int = 17
    num_levels: int = 12
    finest: int | None = None  # cells along an axis; None: from the size of a pixel on the object
    samples_per_step: int = 1 << 13  # after early ray termination, about
    rate: float = 3e-2
    final_rate: float = 1e-3
    network_rate: float = 2e-3
    steps: int = 10_000  # span of the decay, where the options give neither steps nor seconds
    grid: int = 128
    warm_up: int = 100  # steps before cells are taken for empty
    update_every: int = 16  # steps between updates of the occupancy grid
    cells_per_update: int = 1 << 15
    samples_per_ray: int = 10  # about, while the place of the scene is unknown: sets the step length of rays


PRESETS = {
    "draft": Training(log2_size=15, num_levels=10, samples_per_step=1 << 14),
    "standard": Training(),
    "fine": Training(log2_size=19, num_levels=16),
}
