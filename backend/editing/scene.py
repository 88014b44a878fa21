"""An edited model: another model with a stack of edits, as a Generator, and loading and storing one.

The folder holds the layers alone, beside a card that names the model they stand on.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from addon.wire.errors import LatheError, Remedy, UnreadableModel
from addon.wire.messages import ModelInfo

from ..cameras import Camera
from ..models.card import ModelCard, read_card
from ..models.library import load_model
from ..models.scene_file import is_scene_file, load_scene, read_scene_card
from ..models.store import model_folder, read_tensors, save_model
from ..scenes.generator import Generator, Part
from ..scenes.protocol import Scene
from .edited import EditedScene
from .layers import Layer, add_weights, layers_from, resolved, tensors_of

KIND = "edited"


class EditedGenerator:
    """A `Generator` whose scenes have a stack of edits. Each layer has its own copy of the weights."""

    def __init__(self, base: Generator, layers: Sequence[Layer], info: ModelInfo | None = None) -> None:
        """Raises ValueError: a layer belongs to another model."""
        self.base, self.layers, self.info = base, list(layers), info or base.info
        self._copies: list[tuple[Layer, Generator]] = []
        for layer in self.layers:
            if layer.factor:
                made = copy.deepcopy(base)
                add_weights(made, layer)
                self._copies.append((layer, made))

    @property
    def device(self) -> torch.device:
        """See Generator.device."""
        return self.base.device

    def sample_z(self, seed: int) -> Tensor:
        """See Generator.sample_z."""
        return self.base.sample_z(seed)

    def mapping(self, z: Tensor, condition: Camera | None = None, *, truncation_psi: float = 1.0) -> Tensor:
        """See Generator.mapping."""
        return self.base.mapping(z, condition, truncation_psi=truncation_psi)

    def mean_ws(self) -> Tensor:
        """See Generator.mean_ws."""
        return self.base.mean_ws()

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for: of the model without its edits."""
        return self.base.parameters_for(part)

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> Scene:
        """See Generator.synthesize. The layers are put on in their order."""
        scene = self.base.synthesize(ws, controls, differentiable=differentiable)
        for layer, edited in self._copies:
            own, own_controls = resolved(edited, ws, controls)
            if layer.ws is not None:
                own = own + layer.factor * layer.ws.to(own)
            above = edited.synthesize(own, own_controls, differentiable=differentiable)
            scene = above if layer.region is None else EditedScene(scene, above, layer.region)
        return scene


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> EditedGenerator:
    """Return the edited model of a folder.

    Raises UnreadableModel: the model that it stands on is missing, or another one; the folder is as it was.
    """
    base_name = str(card.constructor["base"])
    device = next(iter(tensors.values())).device if tensors else torch.device("cpu")
    try:
        base, base_card = _load_base(base_name, device)
    except LatheError as error:
        raise UnreadableModel(
            f"The edits of {card.label} stand on the model {base_name}, which cannot be loaded "
            f"({error.message.rstrip('.')}). Put it back or import it again: the edits are kept.",
            remedy=Remedy("refresh_models", "Refresh the list of models"),
        ) from error
    if card.constructor["base_sha256"] != base_card.weights_sha256:
        raise UnreadableModel(
            f"The edits of {card.label} were made on other weights than those of the model {base_name} now: put back "
            "the former model, or make the edits again.",
            remedy=Remedy("refresh_models", "Refresh the list of models"),
        )
    layers = layers_from(card.constructor["layers"], tensors, base.info.bounds)
    info = dataclasses.replace(base.info, name=name, **card.info_fields)
    return EditedGenerator(base, layers, info)


def _load_base(base: str, device: torch.device) -> tuple[Generator, ModelCard]:
    path = Path(base)
    if is_scene_file(path):
        return load_scene(path, device), read_scene_card(path)
    folder = path if path.is_absolute() else model_folder(base)
    return load_model(folder, device), read_card(folder)


def base_of(folder: Path) -> tuple[str, str]:
    """Return how an edited model names the model of a folder or scene file, and the sha256 of its weights.

    A model in one of the usual places is named by its name, another one by its path.
    """
    card = read_scene_card(folder) if is_scene_file(folder) else read_card(folder)
    try:
        usual = model_folder(folder.name).resolve() == folder.resolve()
    except LatheError:
        usual = False
    return folder.name if usual else str(folder.resolve()), card.weights_sha256


def read_stack(folder: Path) -> tuple[ModelCard, list[Layer]]:
    """Return card and layers of an edited model, whether or not its model is there. Raises UnreadableModel."""
    card = read_card(folder)
    if card.kind != KIND:
        raise UnreadableModel(f"{folder} is not an edited model: it is of kind {card.kind!r}.")
    tensors = read_tensors(folder / "model.safetensors", "cpu")
    bounds = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return card, layers_from(card.constructor["layers"], tensors, bounds)


def write_stack(folder: Path, base: str, base_sha256: str, like: ModelCard, layers: Sequence[Layer]) -> ModelCard:
    """Write the folder of an edited model and return its card. like: the card of the model it stands on, or its own.

    Raises CannotWrite.
    """
    constructor: dict[str, Any] = {
        "base": base, "base_sha256": base_sha256, "layers": [layer.described() for layer in layers],
    }  # fmt: skip
    label = like.label if like.kind == KIND else f"{like.label}, edited"
    listed = "\n".join(
        f"{number}. {layer.kind}, {layer.parameters}{'' if layer.on else ', off'}, strength {layer.strength:g}"
        for number, layer in enumerate(layers, 1)
    )
    card = dataclasses.replace(
        like, kind=KIND, label=label, constructor=constructor, source="trained", source_sha256="",
        card=f"Edits of the model {base}, in their order:\n\n{listed}\n",
    )  # fmt: skip
    return save_model(folder, card, tensors_of(layers))
