"""Sets of official outputs: how they are read, and how close is close enough.

A set is a pair NAME.safetensors + NAME.json made by running official code. The tensors are called `weights/…` (official
parameter names), `in/…` and `out/…`; the json holds the constructor arguments, the conventions of the call, and the
difference between the official code in float32 and in float64 where it was measured: the *floor*, below which no
float32 program can be expected to agree.

Tolerance of an output: max |difference| ≤ 1e-4, or three times its floor where that is larger. A difference of a few
units in the last place of the official float32 value passes too: an official disparity of 1e10 has steps of 1024.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

TOLERANCE = 1e-4
FLOORS_ALLOWED = 3.0
LAST_PLACES_ALLOWED = 4

Floor = tuple[float, float | None]

# (max, mean) floors measured on the official code and recorded beside the sets instead of in them.
# Keys: official system; then patterns of the outputs they hold for.
FINE_PASS: Floor = (2.4e-3, 2e-5)  # the fine pass draws from an inverse CDF whose bins can have tiny denominators
# Where a moved sample lands, the encoding's 2^9 makes another raw value of it: float32 against float64 of one code,
# measured here on the sets of nerf-pytorch, whose float32 values ours equal bit by bit.
FINE_RAW: Floor = (6.9, 3.2e-3)
FINE_Z_STD: Floor = (8.8e-2, 2.4e-3)
FINE_SAMPLES: Floor = (3.6e-1, 7.1e-4)
_NERF: dict[str, Floor] = {
    **dict.fromkeys(("rgb", "disp", "acc"), FINE_PASS),
    "raw": FINE_RAW,
    "z_std": FINE_Z_STD,
    "pdf_samples": FINE_SAMPLES,
}
# Unit normals where the density hardly changes, and what they shade: our float32 against our float64, whose float32
# equals the official one.
_SHADEGAN: dict[str, Floor] = {
    f"{mode}_{output}": floor
    for mode in ("det", "rnd", "det_surftrack")
    for output, floor in {"normal": (5e-4, 1e-5), "rgb": (1.4e-4, 5e-6), "shading": (1.4e-4, 5e-6)}.items()
}
FLOORS_BY_SYSTEM: dict[str, dict[str, Floor]] = {
    "autonomousvision/graf": {"rgb": (1.4e-4, None), "acc": (2.4e-4, None)},
    "XingangPan/ShadeGAN": {**_SHADEGAN, "points_normal": (2.9e-3, None)},
    "yenchenlin/nerf-pytorch": _NERF,
    "bmild/nerf": _NERF,
    "stevliu/editnerf": dict.fromkeys(
        ("rgb", "disp", "acc", "weights", "mixed_styles_rgb_official_tiling", "swap_shape0_color1_rgb"), FINE_PASS
    ),
    # How far official values move where the official weights change by one part in 1e7, as the set says: fine samples
    # jump, and Adam turns around gradients near zero (a weight moves by 1e-3 a step).
    "stevliu/editnerf: editing": {
        **dict.fromkeys(("before", "*/image_after_view0"), FINE_PASS),
        "*/fine_depths_step0": FINE_SAMPLES,
        "*/cache_features_view0": (1e-1, 1e-3),
        "*/grad_step0/*": (1.5e-3, 5e-5),
        "*/after/*": (3e-3, 1e-4),
    },
}


@dataclass(frozen=True)
class OracleSet:
    """One official network with its weights, and what it computed."""

    name: str  # the pair's name; for messages only, never to choose by
    path: Path  # the safetensors file
    meta: dict[str, Any]  # the json: system, constructor arguments, conventions
    weights: dict[str, Tensor]  # official parameter name → value, without the prefix `weights/`
    inputs: dict[str, Tensor]  # without the prefix `in/`
    expected: dict[str, Tensor]  # without the prefix `out/`

    @property
    def system(self) -> str:
        """The official repository, such as "NVlabs/eg3d"."""
        return str(self.meta["system"])

    def weights_under(self, prefix: str) -> dict[str, Tensor]:
        """Return the weights whose names start with `prefix`, without it."""
        return {name[len(prefix) :]: value for name, value in self.weights.items() if name.startswith(prefix)}

    def has(self, *outputs: str) -> bool:
        """Say whether the set has all these outputs (names without `out/`)."""
        return all(name in self.expected for name in outputs)

    def to(self, dtype: torch.dtype) -> OracleSet:
        """Return the set with floating-point weights and inputs as `dtype`: float64 measures our own floor."""

        def cast(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {k: v.to(dtype) if v.is_floating_point() else v for k, v in tensors.items()}

        return replace(self, weights=cast(self.weights), inputs=cast(self.inputs))


def find_sets(folder: Path) -> list[Path]:
    """Return the safetensors files in `folder` and below that have a json beside them, sorted."""
    return sorted(path for path in folder.rglob("*.safetensors") if path.with_suffix(".json").is_file())


def read_set(path: Path) -> OracleSet:
    """Read NAME.safetensors and NAME.json.

    Raises:
        ValueError: the json names no system, or the tensors are of none of the three groups.
    """
    meta = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if not isinstance(meta, dict) or not isinstance(meta.get("system"), str):
        raise ValueError(f"{path.with_suffix('.json')} names no official system (key 'system').")
    groups: dict[str, dict[str, Tensor]] = {"weights": {}, "in": {}, "out": {}}
    for key, value in load_file(path).items():
        group, _, name = key.partition("/")
        if group not in groups or not name:
            raise ValueError(f"{path} holds {key!r}; expected weights/…, in/… or out/….")
        groups[group][name] = value.clone()  # in aligned memory, as the official tensors were: BLAS rounds by alignment
    return OracleSet(path.stem, path, meta, groups["weights"], groups["in"], groups["out"])


def stated_floor(set: OracleSet, output: str) -> Floor | None:
    """Return the (max, mean) floor of an output, or None where none was measured.

    The json states floors in a sentence: "float32 vs float64 official run (det): image max 3.48e-06 mean 5.72e-07, …".
    A floor named `image` holds for `image`, `det_image` and `rnd_image`; an output without a floor of its own takes
    the largest of its set.
    """
    floors = _parse_floors(str(set.meta.get("numeric_floor", "")))
    if not floors:
        measured = FLOORS_BY_SYSTEM.get(set.system, {})
        return next((floor for pattern, floor in measured.items() if fnmatch.fnmatchcase(output, pattern)), None)
    named = [name for name in floors if output == name or output.endswith("_" + name)]
    return floors[max(named, key=len)] if named else max(floors.values(), key=lambda floor: floor[0])


def _parse_floors(sentence: str) -> dict[str, Floor]:
    number = r"([0-9.]+(?:e[-+]?[0-9]+)?)"
    found = re.findall(rf"(\w+):? max {number}(?: mean {number})?", sentence)
    return {name: (float(largest), float(mean) if mean else None) for name, largest, mean in found}


@dataclass(frozen=True)
class PhotometricLoss:
    """How close one output came."""

    output: str
    max_difference: float
    mean_difference: float
    floor: float | None  # the stated one (max), or None
    verdict: str  # "ok", "miss", or "left out"
    reason: str = ""

    @property
    def passed(self) -> bool:
        return self.verdict != "miss"


def compare(
    set: OracleSet, ours: Mapping[str, Tensor], not_reproduced: Mapping[str, str] | None = None
) -> Iterator[PhotometricLoss]:
    """Compare our outputs with every official output of the set.

    `ours` maps output names, with or without the prefix `out/`, to tensors. Equal NaNs and infinities agree.
    An official output that is neither in `ours` nor in `not_reproduced` (name → reason) is a miss.
    """
    ours = {name.removeprefix("out/"): value for name, value in ours.items()}
    left_out = {name.removeprefix("out/"): reason for name, reason in (not_reproduced or {}).items()}
    for name in sorted(ours.keys() - set.expected.keys()):
        yield PhotometricLoss(name, float("nan"), float("nan"), None, "miss", "the set has no such output")
    for name, expected in set.expected.items():
        floor = stated_floor(set, name)
        if name in ours:
            yield _compare(name, ours[name], expected, floor)
        elif name in left_out:
            yield PhotometricLoss(name, float("nan"), float("nan"), None, "left out", left_out[name])
        else:
            yield PhotometricLoss(name, float("nan"), float("nan"), None, "miss", "not computed")


def _compare(name: str, got: Tensor, expected: Tensor, floor: Floor | None) -> PhotometricLoss:
    if tuple(got.shape) != tuple(expected.shape):
        reason = f"shape {list(got.shape)}, official {list(expected.shape)}"
        return PhotometricLoss(name, float("nan"), float("nan"), floor and floor[0], "miss", reason)
    got, official = got.detach().cpu().double(), expected.double()
    same = (got == official) | (got.isnan() & official.isnan())
    difference = torch.where(same, 0.0, (got - official).abs())
    difference = torch.where(difference.isnan(), torch.inf, difference)
    # A float32 value v has steps of 2^-23 |v| at most.
    steps = LAST_PLACES_ALLOWED * 2.0**-23 * torch.where(official.isfinite(), official.abs(), 0.0)
    largest, mean = (float(difference.max()), float(difference.mean())) if difference.numel() else (0.0, 0.0)
    tolerance = max(TOLERANCE, FLOORS_ALLOWED * floor[0]) if floor else TOLERANCE
    close = bool((difference <= torch.clamp(steps, min=tolerance)).all())
    if close and floor and floor[1] is not None:
        # Where the largest floor is loose (a few rays), the mean still says whether the rest agrees.
        close = float((difference - steps).clamp(min=0).mean()) <= max(TOLERANCE, FLOORS_ALLOWED * floor[1])
    return PhotometricLoss(name, largest, mean, floor and floor[0], "ok" if close else "miss")
