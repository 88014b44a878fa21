"""The models. Each folder holds one: `model.py` (the whole model) and `checkpoint.py` (official file -> ours).

GENERATORS maps the kind in a model's card to `load(name, card, tensors) -> Generator`. To add a model, add its line;
docs/add-a-model.md says what else.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from ..models.card import ModelCard
    from ..scenes.generator import Generator

Loader = Callable[[str, "ModelCard", dict[str, Tensor]], "Generator"]


def _lazy(module_name: str) -> Loader:
    """Import a model only when one of its kind is loaded: start-up stays fast however many there are."""

    def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> Generator:
        module = importlib.import_module(module_name, __name__)
        generator: Generator = module.load(name, card, tensors)
        return generator

    return load


GENERATORS: dict[str, Loader] = {
    kind: _lazy(f".{kind}.scene")
    for kind in (
        "deepsdf",
        "eg3d",
        "gan3d",
        "graf",
        "hologan",
        "pigan",
        "shadegan",
        "stylenerf",
        "stylesdf",
        "von",
    )
} | {  # fitted scenes: one scene each, without latents
    "hash_field": _lazy("..nerf.hash.scene"),
    "nerf": _lazy("..nerf.mlp.scene"),
}
