"""Measurements: each module has `rows() -> list[Row]`, ratios taken in one run, alternating, medians."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

from addon.wire.errors import InvalidRequest

BENCHES = ("meshing", "transport", "deepsdf", "generators", "nerf")


@dataclass(frozen=True)
class Row:
    """One figure. `bar` is what was to be reached, None where there is none; `ok` says whether it was."""

    measure: str
    value: float
    unit: str
    bar: float | None = None
    ok: bool = True


def run(name: str, device: str | None = None) -> list[Row]:
    """Run one bench by its name, that of radiance fields on any device.

    Raises:
        InvalidRequest: there is no bench of this name, or it measures the processor alone.
        NotSupported: there is no such device here.
    """
    if name not in BENCHES:
        raise InvalidRequest(f"There is no bench {name!r}. Benches: {', '.join(BENCHES)}.")
    if device is not None:
        if name != "nerf":
            raise InvalidRequest("--device belongs to `bench nerf`.")
        from ..tasks.workspace import device_of
        from .nerf import rows as rows_on

        return rows_on(device_of(device))
    rows: list[Row] = importlib.import_module(f".{name}", __name__).rows()
    return rows


def run_generators(only: tuple[str, ...], weights: Path | None) -> list[Row]:
    """Run the bench of the generators, or some of its cases; rows go to stderr as they come."""
    from . import generators

    def on_row(row: Row) -> None:
        verdict = "" if row.bar is None else f" (bar {row.bar:g}: {'reached' if row.ok else 'MISSED'})"
        report(f"{row.measure}: {row.value:.4g} {row.unit}{verdict}")

    def report(text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    return generators.rows(only=only, weights=weights, on_row=on_row, report=report)
