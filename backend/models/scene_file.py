"""A fitted scene as one file: safetensors whose metadata holds the card as JSON. It opens on another machine.

The same card and the same tensors as in a model folder (`models.store`), so everything that takes a model takes
such a file too. Reading runs no code: safetensors holds numbers alone and its header is checked against the file's
size; the loader of the card's kind checks every shape before it builds anything.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from addon.wire.errors import UnreadableModel

from ..files import cannot_write, replacing
from ..scenes.generator import Generator
from .card import ModelCard, card_from_json
from .library import generator_of
from .store import read_tensors, storable

FORMAT = "latent_lathe.scene.1"
MAX_CARD_BYTES = 1 << 20


def is_scene_file(path: Path) -> bool:
    """Return whether a path is a scene file, by its suffix."""
    return path.suffix.lower() == ".safetensors" and path.is_file()


def scene_name(path: Path) -> str:
    """Return the model name of a scene file: its stem, without characters that a name must not have."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.stem).lstrip("_.-")[:100] or "scene"


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically. Raises OSError."""
    try:
        with replacing(path) as partial:
            save_file(storable(tensors), partial, metadata)
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
    except SafetensorError as error:  # has the system's number in its text alone
        number = re.search(r"\(os error (\d+)\)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code), None, code) from error  # Windows reads the last in place of the first


def save_scene(path: Path, card: ModelCard, tensors: dict[str, Tensor]) -> None:
    """Write a scene file atomically. Raises CannotWrite."""
    metadata = {"format": FORMAT, "card": json.dumps(dataclasses.asdict(card), ensure_ascii=False)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_safetensors(path, tensors, metadata)
    except OSError as error:
        raise cannot_write("The scene", path.parent, error) from error


def read_scene_card(path: Path) -> ModelCard:
    """Return the card of a scene file. Raises UnreadableModel."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError("it holds weights, but no card of a scene")
        text = metadata.get("card", "")
        if len(text) > MAX_CARD_BYTES:
            raise ValueError(f"its card is longer than {MAX_CARD_BYTES} bytes")
        return card_from_json(text)
    except (OSError, SafetensorError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error


def load_scene(path: Path, device: torch.device | str = "cpu") -> Generator:
    """Return the generator in a scene file, on `device`.

    Raises:
        UnreadableModel: not a scene file, or a damaged one; the message says what does not fit.
    """
    card = read_scene_card(path)
    try:
        tensors = read_tensors(path, device)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    return generator_of(scene_name(path), card, tensors, path)


def _unreadable(path: Path, error: Exception) -> UnreadableModel:
    return UnreadableModel(f"The scene file {path} cannot be read: {error}. Copy or fit it again.")
