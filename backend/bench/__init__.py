"""Benchmarks: each module has `rows() -> list[Row]`; ratios are medians of alternating calls in one process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from addon.wire.errors import InvalidRequest

from .row import Row

__all__ = ["BENCHES", "Row", "run"]

BENCHES = ("meshing", "transport", "deepsdf", "generators", "nerf", "eg3d_training", "editing")
ON_ANY_DEVICE = ("generators", "nerf")


def run(
    name: str,
    device: str | None = None,
    *,
    only: tuple[str, ...] = (),
    weights: Path | None = None,
    tiny: bool = False,
) -> list[Row]:
    """Run one benchmark by its name; the rows of generators also go to stderr as they come.

    Args:
        device: of `generators` and `nerf`, None for the processor.
        only, weights: of `generators`, see there.
        tiny: small sizes, of `generators` and `nerf`, to try the command.

    Raises:
        InvalidRequest: there is no benchmark of this name, or it does not have one of these options.
        NotSupported: there is no such device here.
    """
    if name not in BENCHES:
        raise InvalidRequest(f"There is no bench {name!r}. Benches: {', '.join(BENCHES)}.")
    if (device is not None or tiny) and name not in ON_ANY_DEVICE:
        raise InvalidRequest("--device and --tiny belong to `bench nerf` and `bench generators`.")
    if name != "generators" and (only or weights):
        raise InvalidRequest("--only and --weights belong to `bench generators`.")
    module = importlib.import_module(f".{name}", __name__)
    options: dict[str, Any] = {}
    if name in ON_ANY_DEVICE:
        from ..device import device_of

        options |= {"device": device_of(device or "cpu"), "tiny": tiny}
    if name == "generators":
        options |= {"only": only, "weights": weights, "on_row": _report_row, "report": _report}
    rows: list[Row] = module.rows(**options)
    return rows


def _report_row(row: Row) -> None:
    verdict = "" if row.target is None else f" (target {row.target:g}: {'reached' if row.ok else 'MISSED'})"
    _report(f"{row.measure}: {row.value:.4g} {row.unit}{verdict}")


def _report(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
