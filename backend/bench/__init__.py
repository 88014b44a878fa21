"""Measurements: each module has `rows() -> list[Row]`, ratios taken in one run, alternating, medians."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

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


def run(name: str) -> list[Row]:
    """Run one bench by its name. Raises InvalidRequest for a name that is none."""
    if name not in BENCHES:
        raise InvalidRequest(f"There is no bench {name!r}. Benches: {', '.join(BENCHES)}.")
    rows: list[Row] = importlib.import_module(f".{name}", __name__).rows()
    return rows
