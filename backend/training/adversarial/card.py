"""The card of the model that an adversarial training gives."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...models.card import ModelCard
from ..data.training_images import TrainingImages


def trained_card(
    data: TrainingImages,
    kind: str,
    model: str,
    description: str,
    constructor: dict[str, Any],
    text: str,
    *,
    data_units_per_unit: float = 1.0,
) -> ModelCard:
    """Return the card of a model of this kind: licence, name, placement, cameras and background are those of the data.

    model: its name in the label. description: with {what} in place of the name of the class. data_units_per_unit: the
    length of a unit of the model's own frame in the data's world, where the object is in the unit sphere.
    """
    what = data.name or "Objects"
    return ModelCard(
        kind=kind,
        label=f"{what} ({model})",
        description=description.format(what=what),
        licence=data.licence,
        non_commercial=False,
        constructor=constructor,
        metres_per_unit=data.metres_per_unit * data_units_per_unit,
        pose_prior={**asdict(data.prior), "radius": data.metres_per_unit * data.prior.radius},
        background=data.background,
        card=text,
    )
