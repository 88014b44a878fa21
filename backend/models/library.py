"""Load a model: from the card and weights of a folder to a Generator on a device."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from addon.wire.errors import LatheError, Remedy, UnreadableModel, UnsafeCheckpoint

from ..generators import MODELS, loader
from ..scenes.generator import Generator
from .allocation import allocation_limit
from .card import ModelCard, read_card
from .card_numbers import check_numbers, check_pose_prior
from .store import read_tensors


def load_model(folder: Path, device: torch.device | str = "cpu") -> Generator:
    """Return the generator in a model folder, ready to evaluate on `device`.

    Raises:
        UnreadableModel: the folder was edited or damaged; the message says what does not fit.
    """
    card = read_card(folder)
    remedy = Remedy("import_again", "Import the model again", folder.name)
    try:
        with (folder / "model.safetensors").open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != (card.weights_sha256 or sha256):
            raise UnreadableModel(
                f"The weights of the model in {folder} are not those that its card was written for: they were edited, "
                "damaged or copied in part. Import the model again.",
                remedy=remedy,
            )
        tensors = read_tensors(folder / "model.safetensors", device)
    except (OSError, SafetensorError) as error:
        raise UnreadableModel(
            f"The weights of the model in {folder} cannot be read: {error}. Import the model again.", remedy=remedy
        ) from error
    return generator_of(folder.name, card, tensors, folder)


def generator_of(name: str, card: ModelCard, tensors: dict[str, Tensor], where: Path) -> Generator:
    """Return the generator of a card and its tensors, which lie at `where`. Raises UnreadableModel."""
    if card.kind not in MODELS:
        raise UnreadableModel(
            f"The model in {where} is of kind {card.kind!r}; this version knows {', '.join(MODELS)}.",
            remedy=Remedy("update_backend", "Update Latent Lathe"),
        )
    load = loader(card.kind)
    budget = (512 << 20) + 8 * sum(tensor.nbytes for tensor in tensors.values())
    try:
        check_numbers({"metres_per_unit": card.metres_per_unit, **card.constructor})
        with allocation_limit(budget, f"The model in {where}"):
            generator = load(name, card, tensors)
        check_pose_prior(generator.info.pose_prior)
        return generator
    except UnsafeCheckpoint as error:  # the card was edited
        raise UnreadableModel(
            f"The card of {where} asks for a model many times larger than its weights. Import the model again.",
            remedy=Remedy("import_again", "Import the model again", name),
        ) from error
    except LatheError:
        raise
    except (KeyError, ValueError, TypeError, RuntimeError, AttributeError, IndexError, ArithmeticError) as error:
        raise UnreadableModel(
            f"The model in {where} does not fit together ({misfit(error)}). Import the model again.",
            remedy=Remedy("import_again", "Import the model again", name),
        ) from error


def misfit(error: Exception) -> str:
    """Return a loader's error in a few words; of PyTorch's list of misfitting tensors, the first three."""
    text = str(error)
    if isinstance(error, KeyError):
        return f"{text} is missing"
    parts = [
        *(f"{name} is missing" for name in _quoted(r"Missing key\(s\) in state_dict: (.*)", text)),
        *(f"{name} has no place in it" for name in _quoted(r"Unexpected key\(s\) in state_dict: (.*)", text)),
        *(
            f"{name} is [{got}] instead of [{wanted}]"
            for name, got, wanted in re.findall(r"mismatch for (\S+):.*?Size\(\[(.*?)\]\).*?Size\(\[(.*?)\]\)", text)
        ),
    ]
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return ", ".join(parts[:3]) + more if parts else text.partition("\n")[0]


def _quoted(line: str, text: str) -> list[str]:
    found = re.search(line, text)
    return re.findall(r'"([^"]+)"', found[1]) if found else []
