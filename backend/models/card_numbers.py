"""Checks on the numbers of a card that no tensor's shape determines; a wrong one would fail during a render."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from addon.wire.messages import PosePrior

POSITIVE = {
    "angles": ("fov_degrees",),
    "counts of samples": ("num_samples", "num_background_samples", "num_steps", "coarse_samples", "depth_resolution"),
    "pixels": (
        "image_size",
        "thumbnail_size",
        "neural_resolution",
        "input_resolution",
        "resolution",
        "start_resolution",
    ),
    "lengths": (
        "box_side",
        "box_warp",
        "half_depth",
        "half_edge",
        "half_size",
        "half_width",
        "distance",
        "side",
        "step",
    ),
    "factors": ("metres_per_unit", "position_scale", "samples_per_pixel", "reach", "clamp", "lipschitz", "logit_scale"),
    "a low-pass filter, divided by its sum": ("taps",),
}
NOT_NEGATIVE = ("depth_resolution_importance", "fine_samples", "num_unused_ws")

_POSITIVE = frozenset(name for names in POSITIVE.values() for name in names)


def check_numbers(values: Mapping[str, Any]) -> None:
    """Refuse constructor arguments out of range. Raises ValueError, naming the number."""
    for name, value in _numbers(values):
        if not math.isfinite(value):
            raise ValueError(f"{name} is not finite")
        if name in _POSITIVE and value <= 0:
            raise ValueError(f"{name} is {value:g}: it must be greater than 0")
        if name in NOT_NEGATIVE and value < 0:
            raise ValueError(f"{name} is {value:g}: it must not be less than 0")
        if name == "fov_degrees" and value >= 180:
            raise ValueError(f"{name} is {value:g}: it must be less than 180")


def check_pose_prior(prior: PosePrior) -> None:
    """Refuse a pose prior that is not a range of cameras. Raises ValueError, naming the field."""
    for name in ("radius", "fov", "default_azimuth", "default_elevation"):
        if not _is_number(getattr(prior, name)):
            raise ValueError(f"{name} of pose_prior is not a finite number")
    if prior.radius <= 0 or not 0 < prior.fov < math.pi:
        raise ValueError("of pose_prior, radius must be greater than 0 and fov lie between 0 and π")
    for name in ("azimuth", "elevation"):
        ends = getattr(prior, name)
        if not (isinstance(ends, tuple) and len(ends) == 2 and all(map(_is_number, ends)) and ends[0] <= ends[1]):
            raise ValueError(f"{name} of pose_prior must be two numbers, the smaller first")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number with its name; those of a list have the list's."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, key)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value
