"""A model on disk: a folder with `model.safetensors` (weights) and `card.json` (everything else).

Only these two files are read at run time, so no checkpoint can run code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load, load_file, save
from torch import Tensor

from addon.wire.errors import CannotWrite, Remedy, UnknownModel

from ..files import JOURNAL, publish, recover
from ..folders import user_models
from .card import ModelCard, card_text

STARTER = Path(__file__).resolve().parent.parent / "starter"


def find_models(roots: Iterable[Path] | None = None) -> dict[str, Path]:
    """Return name -> folder of every model found; a user's model of the same name replaces the starter one."""
    found: dict[str, Path] = {}
    for root in roots if roots is not None else (STARTER, user_models()):
        if root.is_dir():
            found.update({p.name: p for p in sorted(root.iterdir()) if _is_model(p)})
    return found


def _is_model(folder: Path) -> bool:
    """Return whether a folder holds a model, after finishing a save that was killed."""
    with contextlib.suppress(OSError):
        if (folder / JOURNAL).is_file():
            recover(folder)
    return (folder / "card.json").is_file()


def model_folder(name: str, roots: Iterable[Path] | None = None) -> Path:
    """Return the folder of a model by name. Raises UnknownModel, naming those that exist."""
    models = find_models(roots)
    if name not in models:
        raise UnknownModel(
            f"There is no model named {name!r}. Models here: {', '.join(models) or 'none'}",
            remedy=Remedy("refresh_models", "Refresh the list of models"),
        )
    return models[name]


def save_model(folder: Path, card: ModelCard, tensors: dict[str, Tensor]) -> ModelCard:
    """Write a model folder, weights and card as one (`publish`). Returns the card with its sha256."""
    data = save(storable(tensors))
    card = dataclasses.replace(card, weights_sha256=hashlib.sha256(data).hexdigest())
    try:
        publish(folder, {"model.safetensors": data, "card.json": card_text(card).encode()})
    except OSError as error:
        raise CannotWrite(f"The model could not be written to {folder}: {error.strerror or error}") from error
    return card


def storable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors on the CPU, contiguous, none sharing memory with another: safetensors stores no shared ones."""
    found: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        place = own.untyped_storage().data_ptr()
        found[name] = own.clone() if place in taken else own
        taken.add(place)
    return found


def read_tensors(path: Path, device: torch.device | str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. On Windows they are copies: a file that is mapped cannot be replaced.

    Raises:
        OSError, SafetensorError.
    """
    if sys.platform == "win32":
        return {name: tensor.to(device) for name, tensor in load(path.read_bytes()).items()}
    return load_file(path, device=str(device))
