"""Which parameters an edit changes: the latent alone, late layers, the whole network, or a hybrid of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from addon.wire.errors import NotSupported

from ..scenes.generator import Generator
from .region import Kind

Parameters = Literal["codes", "late", "all", "hybrid"]
CHOICES: tuple[Parameters, ...] = ("codes", "late", "all", "hybrid")

CODE_RATE = 3e-2
WEIGHT_RATE = 3e-3
TABLE_RATE = 5e-2
"""Learning rates of Adam: of the latent, of layers, and of the tables of a hash field."""

TABLE_ROWS = 1024
"""From this many rows on, a parameter is a table rather than a layer."""


@dataclass(frozen=True)
class Chosen:
    """What is optimised. rows: of ws, bool [num_ws], or None where the latent stays. weights: by their places in
    `generator.parameters_for("all")`."""

    rows: Tensor | None
    weights: dict[int, nn.Parameter]

    def groups(self, offset: Tensor | None) -> list[dict[str, Any]]:
        """Return the parameter groups of Adam. offset: of ws, optimised with them."""
        found: list[dict[str, Any]] = [
            {"params": [weight], "lr": TABLE_RATE if len(weight) >= TABLE_ROWS else WEIGHT_RATE}
            for weight in self.weights.values()
        ]
        return found + ([] if offset is None else [{"params": [offset], "lr": CODE_RATE}])


def choose(generator: Generator, kind: Kind, parameters: Parameters) -> Chosen:
    """Return the parameters of an edit.

    hybrid: of a colour edit the rows of ws that make colours and the weights of the appearance; of another the late
    layers without those of colours alone (of a hash field: table and density network), and the rows of the geometry.

    Raises NotSupported: a stored scene has no latent; a model without colours cannot be coloured.
    """
    info = generator.info
    if kind == "color" and not info.has_color:
        raise NotSupported(f"{info.label} makes shapes without colour: there is nothing to colour.")
    everything = generator.parameters_for("all")
    rows = None
    if info.num_ws and parameters in ("codes", "hybrid"):
        rows = torch.ones(info.num_ws, dtype=torch.bool)
        if parameters == "hybrid" and 0 < info.num_geometry_ws < info.num_ws:
            rows[: info.num_geometry_ws] = kind != "color"
            rows[info.num_geometry_ws :] = kind == "color"
    if parameters == "codes":
        if rows is None:
            raise NotSupported(f"{info.label} is one scene without a latent: choose late, all or hybrid.")
        return Chosen(rows, {})
    if parameters == "all":
        weights = everything
    elif parameters == "late":
        weights = generator.parameters_for("late layers")
    elif kind == "color":
        weights = generator.parameters_for("appearance")
    elif info.num_ws == 0:
        weights = generator.parameters_for("geometry")
    else:
        color_alone = {id(weight) for weight in generator.parameters_for("appearance")} if info.has_color else set()
        weights = [weight for weight in generator.parameters_for("late layers") if id(weight) not in color_alone]
    places = {id(weight): place for place, weight in enumerate(everything)}
    return Chosen(rows, {places[id(weight)]: weight for weight in weights})
