"""Registry of models: a model is one package and one line in `MODELS`.

A model's package holds, by module name:

    scene.py        `load(name, card, tensors) -> Generator`; optional `IMAGE_MEMORY`, what rendering an image takes
    checkpoint.py   optional: `recognise(tree)`, `convert(tree, path)` and `CLASSES`, for official files
    recipe.py       optional: `RECIPES`, commands of `python -m backend train`, and `TRAININGS`, adversarial trainings

The modules are imported when they are first needed, so start-up takes as long however many models there are. A package
that is named and missing raises ModuleNotFoundError. docs/add-a-model.md adds a model step by step.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor

    from ..checkpoints.convert import CheckpointReader
    from ..models.card import ModelCard
    from ..models.image_memory import ImageMemory
    from ..scenes.generator import Generator

    Loader = Callable[[str, ModelCard, dict[str, Tensor]], Generator]

Recipe = Callable[[list[str]], None]
"""A training command: called with its arguments; the first line of its docstring is its help."""

MODELS: dict[str, str] = {
    "eg3d": "backend.generators.eg3d",
    "stylenerf": "backend.generators.stylenerf",
    "stylesdf": "backend.generators.stylesdf",
    "shadegan": "backend.generators.shadegan",
    "pigan": "backend.generators.pigan",
    "graf": "backend.generators.graf",
    "editnerf": "backend.generators.editnerf",
    "deepsdf": "backend.generators.deepsdf",
    "gan3d": "backend.generators.gan3d",
    "von": "backend.generators.von",
    "hologan": "backend.generators.hologan",
    "edited": "backend.editing",
    "hash_field": "backend.nerf.hash",
    "nerf": "backend.nerf.mlp",
}
"""Kind, as in a model's card → package."""


def loader(kind: str) -> Loader:
    """Return `load(name, card, tensors)` of a kind. Raises KeyError where the kind is not registered."""
    return cast("Loader", importlib.import_module(f"{MODELS[kind]}.scene").load)


def image_memory(kind: str) -> ImageMemory:
    """Return what rendering an image with a model of this kind takes: little, where its scene.py says nothing."""
    from ..models.image_memory import ImageMemory

    found: ImageMemory = getattr(importlib.import_module(f"{MODELS[kind]}.scene"), "IMAGE_MEMORY", ImageMemory())
    return found


def importable_kinds() -> tuple[str, ...]:
    """Return the kinds that have a reader of official files, without importing the readers."""
    return tuple(kind for kind in MODELS if _has_module(kind, "checkpoint"))


def checkpoint_reader(kind: str) -> CheckpointReader:
    """Return the reader of a kind's official files: its checkpoint.py. The kind is one of `importable_kinds()`."""
    return cast("CheckpointReader", _module(kind, "checkpoint"))


def checkpoint_classes() -> tuple[str, ...]:
    """Return the classes, by the start of their full names, whose pickled objects official files may hold."""
    modules = (_module(kind, "checkpoint") for kind in importable_kinds())
    return tuple(dict.fromkeys(name for module in modules for name in getattr(module, "CLASSES", ())))


def recipes() -> dict[str, Recipe]:
    """Return the training commands of all models, by name, sorted, without those of `trainings()`."""
    return _of_recipe_modules("RECIPES")


def trainings() -> dict[str, str]:
    """Return the adversarial trainings of all models: name → module with its `RECIPE`, which is not imported; sorted.

    See `backend/training/adversarial/command.py`.
    """
    return _of_recipe_modules("TRAININGS")


def _of_recipe_modules(table: str) -> dict[str, Any]:
    """Return the entries of a table in all models' recipe.py, sorted."""
    found: dict[str, Any] = {}
    for kind in MODELS:
        if _has_module(kind, "recipe"):
            found.update(getattr(_module(kind, "recipe"), table, {}))
    return dict(sorted(found.items()))


def _has_module(kind: str, name: str) -> bool:
    return importlib.util.find_spec(f"{MODELS[kind]}.{name}") is not None


def _module(kind: str, name: str) -> ModuleType:
    return importlib.import_module(f"{MODELS[kind]}.{name}")
