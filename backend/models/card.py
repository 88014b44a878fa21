"""The card of a model (card.json): its kind, licence, constructor arguments and figures."""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from addon.wire.errors import Remedy, UnreadableModel

from ..files import JOURNAL, recover


@dataclass(frozen=True)
class ModelCard:
    """Content of card.json."""

    kind: str  # key of MODELS
    label: str
    description: str
    licence: str
    non_commercial: bool
    constructor: dict[str, Any]  # arguments of the model's class, JSON only
    source: Literal["starter", "imported", "trained"] = "trained"
    source_sha256: str = ""  # of the official file or folder, for imported models
    metres_per_unit: float = 1.0
    pose_prior: dict[str, Any] = field(default_factory=dict)  # fields of messages.PosePrior that differ from the kind's
    card: str = ""  # Markdown: data, recipe, seeds, figures
    background: str = ""  # of a fitted scene: white, black or #rrggbb, of renders without alpha
    weights_sha256: str = ""
    offset: list[float] = field(
        default_factory=list
    )  # [3] that was taken off the coordinates of the files it was made of
    parent: str = ""  # name of the model that this one was tuned from

    @property
    def info_fields(self) -> dict[str, Any]:
        """The fields of ModelInfo that are copied from the card."""
        names = ("kind", "label", "description", "licence", "non_commercial", "card", "source")
        return {name: getattr(self, name) for name in names}


def read_card(folder: Path) -> ModelCard:
    """Return the card. Raises UnreadableModel for a card that was edited into something else."""
    try:
        if (folder / JOURNAL).is_file():
            recover(folder)
        return card_from_json((folder / "card.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnreadableModel(f"{folder} holds no card.json: it is not a model folder") from error
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableModel(
            f"The card of the model in {folder} cannot be read ({error}). Import the model again.",
            remedy=Remedy("import_again", "Import the model again", folder.name),
        ) from error


def card_text(card: ModelCard) -> str:
    """Return the content of card.json."""
    return json.dumps(dataclasses.asdict(card), indent=1, ensure_ascii=False) + "\n"


def card_from_json(text: str) -> ModelCard:
    """Return the card that the JSON holds. Raises ValueError or TypeError."""

    def refuse(constant: str) -> None:
        raise ValueError(f"it holds {constant}")

    data = json.loads(text, parse_constant=refuse)
    if not isinstance(data, dict):
        raise ValueError("it is not a JSON object")
    unknown = sorted(set(data) - {f.name for f in dataclasses.fields(ModelCard)})
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}")
    for name, hint in typing.get_type_hints(ModelCard).items():
        kinds: Any = {float: (int, float), Literal: str}
        kind = typing.get_origin(hint) or hint
        if name in data and not isinstance(data[name], kinds.get(kind, kind)):
            raise ValueError(f"{name} has a {type(data[name]).__name__}")
    return ModelCard(**data)
