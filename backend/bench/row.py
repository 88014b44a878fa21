"""One figure of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """A measured value. `target` is the value to reach, None where there is none; `ok` says whether it was reached."""

    measure: str
    value: float
    unit: str
    target: float | None = None
    ok: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as `bench --json` prints it; the target's key is "bar"."""
        return {"measure": self.measure, "value": self.value, "unit": self.unit, "bar": self.target, "ok": self.ok}
