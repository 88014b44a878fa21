"""A model on disk: a folder with `model.safetensors` (weights) and `card.json` (everything else).

At run time nothing but these two files is read, so no checkpoint can run code.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import os
import re
import sys
import time
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor

from addon.wire.errors import CannotWrite, LatheError, Remedy, UnknownModel, UnreadableModel, UnsafeCheckpoint

from ..folders import user_models
from ..generator import Generator
from .allocation import allocation_limit
from .card_numbers import check_numbers, check_pose_prior

STARTER = Path(__file__).resolve().parent.parent / "starter"


@dataclass(frozen=True)
class ModelCard:
    """What card.json holds."""

    kind: str  # key of GENERATORS
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
    background: str = ""  # of a fitted scene: white, black or #rrggbb, behind pictures that have no alpha
    weights_sha256: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """The fields of ModelInfo that are the card's own words."""
        names = ("kind", "label", "description", "licence", "non_commercial", "card", "source")
        return {name: getattr(self, name) for name in names}


def find_models(roots: Iterable[Path] | None = None) -> dict[str, Path]:
    """Return name -> folder of every model found; a user's model of the same name replaces the starter one."""
    found: dict[str, Path] = {}
    for root in roots if roots is not None else (STARTER, user_models()):
        if root.is_dir():
            found.update({p.name: p for p in sorted(root.iterdir()) if (p / "card.json").is_file()})
    return found


def model_folder(name: str, roots: Iterable[Path] | None = None) -> Path:
    """Return the folder of a model by name. Raises UnknownModel, naming those that exist."""
    models = find_models(roots)
    if name not in models:
        raise UnknownModel(
            f"There is no model named {name!r}. Models here: {', '.join(models) or 'none'}",
            remedy=Remedy("refresh_models", "Refresh the list of models"),
        )
    return models[name]


def read_card(folder: Path) -> ModelCard:
    """Return the card. Raises UnreadableModel for a card that was edited into something else."""
    try:
        return card_from_json((folder / "card.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnreadableModel(f"{folder} holds no card.json: it is not a model folder") from error
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableModel(
            f"The card of the model in {folder} cannot be read ({error}). Import the model again.",
            remedy=Remedy("import_again", "Import the model again", folder.name),
        ) from error


def card_from_json(text: str) -> ModelCard:
    """Return the card that the JSON holds. Raises ValueError or TypeError."""

    def refuse(constant: str) -> None:
        raise ValueError(f"it holds {constant}")

    data = json.loads(text, parse_constant=refuse)
    if not isinstance(data, dict):
        raise ValueError("it is no JSON object")
    unknown = sorted(set(data) - {f.name for f in dataclasses.fields(ModelCard)})
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}")
    for name, hint in typing.get_type_hints(ModelCard).items():
        kinds: Any = {float: (int, float), Literal: str}
        kind = typing.get_origin(hint) or hint
        if name in data and not isinstance(data[name], kinds.get(kind, kind)):
            raise ValueError(f"{name} has a {type(data[name]).__name__}")
    return ModelCard(**data)


def save_model(folder: Path, card: ModelCard, tensors: dict[str, Tensor]) -> ModelCard:
    """Write a model folder: weights first, card last, each in one atomic step. Returns the card with its sha256."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    card = dataclasses.replace(card, weights_sha256=hashlib.sha256(data).hexdigest())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "model.safetensors", data)
        text = json.dumps(dataclasses.asdict(card), indent=1, ensure_ascii=False) + "\n"
        write_atomically(folder / "card.json", text.encode())
    except OSError as error:
        raise CannotWrite(f"The model could not be written to {folder}: {error.strerror or error}") from error
    return card


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either the old or the new one, whatever happens in between. Raises OSError."""
    partial = partial_name(path)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        replace_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def replace_file(partial: Path, path: Path) -> None:
    """Make `partial` what lies at `path`. Windows refuses while somebody reads the old one, so it is tried for a while.
    Raises OSError."""
    for wait in (0.01, 0.05, 0.2, 0.5, 1.0):
        try:
            os.replace(partial, path)
            return
        except PermissionError:
            time.sleep(wait)
    os.replace(partial, path)


def read_tensors(path: Path, device: torch.device | str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file. On Windows they are copies: a file that is mapped cannot be replaced.

    Raises:
        OSError, SafetensorError.
    """
    if sys.platform == "win32":
        return {name: tensor.to(device) for name, tensor in load(path.read_bytes()).items()}
    return load_file(path, device=str(device))


def partial_name(path: Path) -> Path:
    """Return where this process may write what becomes `path`; removes what processes that were killed left there."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        number = left.suffixes[-2].removeprefix(".")
        if not (number.isdigit() and psutil.pid_exists(int(number))):
            left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def load_model(folder: Path, device: torch.device | str = "cpu") -> Generator:
    """Return the generator in a model folder, ready to evaluate on `device`.

    Raises:
        UnreadableModel: the folder was edited or damaged; the sentence says what does not fit.
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
    from ..generators import GENERATORS

    loader: Callable[..., Generator] | None = GENERATORS.get(card.kind)
    if loader is None:
        raise UnreadableModel(
            f"The model in {where} is of kind {card.kind!r}; this version knows {', '.join(GENERATORS)}.",
            remedy=Remedy("update_backend", "Update Latent Lathe"),
        )
    budget = (512 << 20) + 8 * sum(tensor.nbytes for tensor in tensors.values())
    try:
        check_numbers({"metres_per_unit": card.metres_per_unit, **card.constructor})
        with allocation_limit(budget, f"The model in {where}"):
            generator = loader(name, card, tensors)
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
    """Return in a few words what an error of a loader says; of PyTorch's list of misfitting tensors, the first ones."""
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
