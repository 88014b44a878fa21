"""Layers of edits: what an edit adds to a latent and to weights, switched, weighted and ordered on top of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from addon.wire.messages import Bounds

from ..scenes.generator import Generator
from .region import Kind, Region

TOUCHED = 1e-7
"""Rows of a table that moved by less are not stored."""


@dataclass(frozen=True)
class Layer:
    """One edit: what it adds to ws [num_ws, w_dim] and to the weights, by their places in
    `Generator.parameters_for("all")`."""

    kind: Kind
    parameters: str
    on: bool = True
    strength: float = 1.0
    label: str = ""
    region: Region | None = None  # outside of it nothing changes; None: everywhere
    ws: Tensor | None = None
    weights: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def factor(self) -> float:
        """What its additions are multiplied by."""
        return self.strength if self.on else 0.0

    def everywhere(self) -> Layer:
        """Return the layer without its region."""
        return replace(self, region=None)

    def described(self) -> dict[str, Any]:
        """Return everything but the tensors, as JSON holds it."""
        return {
            "kind": self.kind, "parameters": self.parameters, "on": self.on, "strength": self.strength,
            "label": self.label, "reach": 0.0 if self.region is None else self.region.reach,
        }  # fmt: skip


def tensors_of(layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Return the tensors of layers, by names that `layers_from` reads: of tables, the rows that moved."""
    found: dict[str, Tensor] = {}
    for number, layer in enumerate(layers):
        if layer.ws is not None:
            found[f"{number}.ws"] = layer.ws
        if layer.region is not None:
            region = layer.region.tensors()
            found |= {f"{number}.region.{name}": tensor for name, tensor in region.items()}
        for place, delta in layer.weights.items():
            rows = torch.nonzero(delta.abs().flatten(1).amax(-1) > TOUCHED)[:, 0] if delta.ndim > 1 else None
            if rows is not None and 4 * len(rows) < len(delta):
                found[f"{number}.rows.{place}"], found[f"{number}.values.{place}"] = rows.int(), delta[rows]
                found[f"{number}.shape.{place}"] = torch.tensor(delta.shape, dtype=torch.int32)
            else:
                found[f"{number}.weight.{place}"] = delta
    return found


def layers_from(described: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor], bounds: Bounds) -> list[Layer]:
    """Return the layers that `Layer.described` and `tensors_of` stored, of a scene with these bounds. Raises KeyError,
    TypeError, ValueError."""
    found = []
    for number, values in enumerate(described):
        weights: dict[int, Tensor] = {}
        for name, tensor in tensors.items():
            of, _, rest = name.partition(".")
            part, _, place = rest.partition(".")
            if of != str(number) or part in ("ws", "region", "rows", "shape"):
                continue
            if part == "values":
                shape = tensors[f"{number}.shape.{place}"].tolist()
                rows = tensors[f"{number}.rows.{place}"].long()
                weights[int(place)] = tensor.new_zeros(shape).index_copy(0, rows, tensor)
            else:
                weights[int(place)] = tensor
        start = f"{number}.region."
        parts = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
        reach = float(values["reach"])
        region = Region.from_tensors(parts, values["kind"], reach, bounds) if parts else None
        known = {name: value for name, value in values.items() if name != "reach"}
        found.append(Layer(**known, region=region, ws=tensors.get(f"{number}.ws"), weights=weights))
    return found


@torch.no_grad()
def add_weights(generator: Generator, layer: Layer) -> None:
    """Add the weights of a layer to a generator's, in place. Raises ValueError: it belongs to another model."""
    everything = generator.parameters_for("all") if layer.weights else []
    for place, delta in layer.weights.items():
        if not 0 <= place < len(everything) or everything[place].shape != delta.shape:
            raise ValueError(f"weight {place} of the edit {layer.label or layer.kind!r} is not one of the model's")
        everything[place].add_(delta.to(everything[place]), alpha=layer.factor)


def resolved(
    generator: Generator, ws: Tensor, controls: dict[str, float] | None
) -> tuple[Tensor, dict[str, float] | None]:
    """Return ws and controls such that the codes that controls choose are in ws, by the generator's own
    `resolve(ws, controls)` if it has such controls."""
    own = getattr(generator, "resolve", None)
    return (ws, controls) if own is None else own(ws, controls)


def switched(
    layers: Sequence[Layer], number: int, *, on: bool | None = None, strength: float | None = None
) -> list[Layer]:
    """Return the layers with one of them switched or weighted. number: from 0."""
    layer = layers[number]
    layer = replace(layer, on=layer.on if on is None else on)
    layer = replace(layer, strength=layer.strength if strength is None else strength)
    return [*layers[:number], layer, *layers[number + 1 :]]
