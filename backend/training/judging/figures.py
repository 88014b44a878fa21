"""Figures of a judged generator as JSON, as a table for people, and as Markdown for a model's card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Row:
    """One line of the table. Numbers are text, as they are shown; "" where there is none."""

    measure: str
    generated: str
    real: str
    wanted: str


@dataclass(frozen=True)
class Judged:
    """What was found about one generator."""

    figures: dict[str, Any]  # for JSON
    sheets: dict[str, Image.Image]

    @property
    def rows(self) -> list[Row]:
        """The table for people."""
        return table(self.figures)

    @property
    def markdown(self) -> str:
        """The table as Markdown, for a model's card."""
        lines = ["| measure | generated | real | wanted |", "|---|---|---|---|"]
        lines += [f"| {row.measure} | {row.generated} | {row.real} | {row.wanted} |" for row in self.rows]
        return "\n".join([*lines, "", self.note]) + "\n"

    @property
    def note(self) -> str:
        """What the figures are measured with, in a sentence or two."""
        found = self.figures
        left_out = "".join(f" No {name}: {reason}." for name, reason in found["left_out"].items())
        return (
            f"{found['images']} images of {found['size']}², features: {found['features']}. "
            f"Figures compare with no published ones.{left_out}"
        )


def rounded(value: Any) -> Any:
    """Return figures of 4 significant digits; what is not finite becomes None, as JSON has it."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


def table(found: dict[str, Any]) -> list[Row]:
    """Return the figures of a `Judge` as rows for people."""

    def number(value: float | None, form: str = "{:.3g}") -> str:
        return "–" if value is None else form.format(value)

    def degrees(value: float | None) -> str:
        return number(value) + "°"

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f} %"

    rows = []
    if one := found.get("distances"):
        kid = f"{number(one['kid_x1000'])} ± {number(one['kid_x1000_error'], '{:.1g}')}"
        rows += [
            Row("KID-like × 1000", kid, number(one["kid_x1000_real"]), "0"),
            Row("Fréchet distance of so many images", number(one["frechet"]), number(one["frechet_real"]), "as real"),
        ]
    if one := found.get("variety"):
        made = f"{number(one['generated'])} ({percent(one['ratio'])})"
        rows.append(Row("variety: feature distance at like poses", made, number(one["real"]), "as real"))
    if "share" in (one := found.get("copies", {})):
        rows.append(Row("images nearer to a training image than 95 % of real", percent(one["share"]), "5 %", "5 %"))
    if one := found.get("poses"):
        made, real = one["generated"]["errors"], one["real"]
        for key, label in (
            ("azimuth_median", "measured azimuth: median error"),
            ("azimuth_rms", "measured azimuth: RMS error"),
            ("elevation_rms", "measured elevation: RMS error"),
        ):
            rows.append(Row(label, degrees(made[key]), degrees(real[key]), "as real"))
        rows.append(Row("measured for a requested degree of azimuth", number(one["generated"]["slope"]), "", "1"))
    if one := found.get("consistency"):
        made = f"{number(one['psnr'])} dB (not reprojected {number(one['psnr_not_reprojected'])})"
        rows.append(Row(f"views reprojected by {one['step_degrees']:.0f}°: PSNR", made, "", "high"))
    if one := found.get("shapes"):
        rows += [
            Row("shapes: minimum matching distance / radius", number(one["matching_distance"]), "", "low"),
            Row("shapes: coverage of the held-out ones", percent(one["coverage"]), "", "high"),
            Row("shapes: 1-nearest-neighbour accuracy", percent(one["neighbour_accuracy"]), "50 %", "50 %"),
        ]
        if one["copies"] is not None:
            rows.append(
                Row("shapes nearer to a training shape than 95 % of real", percent(one["copies"]), "5 %", "5 %")
            )
    return rows
