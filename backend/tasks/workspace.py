"""State that tasks share: the device, loaded models, synthesised scenes, and uploads.

Loading a model and synthesising a scene are slow, and a moving camera must not repeat them, so the last few are cached.
Used by the thread that owns the device alone, except for `models`.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from addon.wire import payload
from addon.wire.errors import (
    BlobMissing,
    InvalidRequest,
    LatheError,
    MalformedPayload,
    OutOfMemory,
    Remedy,
    UnreadableModel,
    error_to_dict,
)
from addon.wire.messages import IDENTITY4, BrokenModel, CodeBlob, ErrorInfo, Latent, ModelInfo, ModelList, SceneRef
from meshing.cached_field import CachedField

from .. import VERSION
from ..blobs import BlobStore
from ..device import device_of
from ..files import write_atomically
from ..folders import data_folder
from ..generators import importable_kinds
from ..models import card as cards
from ..models import library, store
from ..models.scene_file import load_scene, read_scene_card, scene_name
from ..nerf.fit import state as fit_state
from ..progress import Progress, silent
from ..scenes.cropped import cropped
from ..scenes.generator import Generator
from ..scenes.latents import ws_from_latent
from ..scenes.placed import PlacedScene
from ..scenes.protocol import Scene
from ..training.adversarial.stored import stored_trainings, trainable_models

log = logging.getLogger(__name__)

MAX_MODELS = 2
MAX_SCENES = 4


class Workspace:
    """Shared state of tasks; see the module."""

    def __init__(
        self, device: str | None = None, blobs: BlobStore | None = None, roots: Iterable[Path] | None = None
    ) -> None:
        self.device = device_of(device)
        self._blobs = blobs
        self.roots = None if roots is None else tuple(roots)
        self._folders: dict[str, Path] = {}
        self._models: OrderedDict[tuple[Path, int], Generator] = OrderedDict()
        self._scenes: OrderedDict[tuple[tuple[Path, int], Latent, tuple[tuple[str, float], ...]], Scene] = OrderedDict()
        self._infos: dict[tuple[Path, int], ModelInfo] = {}
        self._infos_lock = threading.Lock()
        self._live: dict[str, Callable[[], Scene]] = {}  # scenes of fits in progress
        self._cached_field: tuple[object, CachedField | None] | None = None

    @property
    def blobs(self) -> BlobStore:
        """Uploads and kept latents, in the data folder unless another store was given."""
        if self._blobs is None:
            self._blobs = BlobStore(data_folder() / "blobs")
        return self._blobs

    # --------------------------------------------------------------------------------------------------------- models

    def add_folder(self, folder: Path) -> str:
        """Register a model folder or scene file outside the usual places under its own name, and return that name.

        Characters that requests do not allow in a name become "_".

        Raises:
            UnreadableModel: it is neither.
        """
        folder = folder.resolve()
        _read_card(folder)
        name = scene_name(folder) if folder.is_file() else folder.name
        name = re.sub(r"^[^A-Za-z0-9]|[^A-Za-z0-9_.-]", "_", name)
        name = (name if name[:1].isalnum() else f"model{name}")[:100]
        self._folders[name] = folder
        return name

    def card(self, name: str) -> cards.ModelCard:
        """Return the card of a model. Raises UnknownModel, UnreadableModel."""
        return _read_card(self.folder(name))

    def kind(self, name: str) -> str:
        """Return the kind of a model; "" for a fit in progress. Raises UnknownModel, UnreadableModel."""
        return "" if name in self._live else self.card(name).kind

    def folder(self, name: str) -> Path:
        """Return the folder of a model. Raises UnknownModel."""
        return self._folders.get(name) or store.model_folder(name, self.roots)

    def generator(self, name: str, progress: Progress = silent) -> Generator:
        """Return a model, loaded. Raises UnknownModel, UnreadableModel."""
        key = self._key(self.folder(name))
        if key not in self._models:
            progress(0.0, "Loading the model")
            while len(self._models) >= MAX_MODELS:
                self._drop_oldest_model()
            log.info("loading %s on %s", key[0], self.device)
            self._models[key] = _load(key[0], self.device)
        self._models.move_to_end(key)
        return self._models[key]

    def models(self) -> ModelList:
        """Return the info of every model, and the error of each damaged one. Any thread."""
        found, broken = [], []
        for name, folder in sorted({**store.find_models(self.roots), **self._folders}.items()):
            try:
                found.append(self._info(folder))
            except LatheError as error:
                broken.append(BrokenModel(name, payload.from_plain(ErrorInfo, error_to_dict(error))))
        return ModelList(
            tuple(found), tuple(broken), fit_state.stored_fits(), importable_kinds(), trainable_models(),
            stored_trainings(),
        )  # fmt: skip

    def _info(self, folder: Path) -> ModelInfo:
        key = self._key(folder)
        with self._infos_lock:
            if key not in self._infos:
                self._infos[key] = _stored_info(folder)
            return self._infos[key]

    @staticmethod
    def _key(folder: Path) -> tuple[Path, int]:
        """Return the cache key of a model: importing it again makes it another one."""
        try:
            return folder, _card_file(folder).stat().st_mtime_ns
        except OSError as error:
            raise UnreadableModel(f"The model in {folder} cannot be read: {error.strerror or error}.") from error

    # --------------------------------------------------------------------------------------------------------- scenes

    def scene(self, ref: SceneRef, progress: Progress = silent, *, placed: bool = True) -> Scene:
        """Return the scene that `ref` names, moved to its place unless `placed` is false.

        Raises:
            UnknownModel, UnreadableModel, BlobMissing (its code), InvalidRequest (its code, controls or crop),
            NotSupported (a crop of a scene that is not a density).
        """
        live = self._live.get(ref.model)
        scene = self._synthesised(ref, progress) if live is None else live()
        if ref.crop is not None:
            scene = cropped(scene, ref.crop)
        if not placed or ref.world_from_scene == IDENTITY4:
            return scene
        return PlacedScene(scene, torch.tensor(ref.world_from_scene, dtype=torch.float32, device=self.device))

    @contextlib.contextmanager
    def live(self, name: str, scene: Callable[[], Scene]) -> Iterator[None]:
        """Within the context, `name` means the scene that `scene()` returns: a fit in progress."""
        self._live[name] = scene
        try:
            yield
        finally:
            del self._live[name]

    def _synthesised(self, ref: SceneRef, progress: Progress) -> Scene:
        generator = self.generator(ref.model, progress)
        known = {control.name: control for control in generator.info.controls}
        for name, value in ref.controls.items():
            if name not in known:
                raise InvalidRequest(f"{ref.model} has no control {name!r}; it has {', '.join(known) or 'none'}")
            control = known[name]
            if not control.minimum <= value <= control.maximum:
                raise InvalidRequest(
                    f"{control.label} must be between {control.minimum:g} and {control.maximum:g}, got {value:g}",
                    remedy=Remedy("reset_control", f"Reset {control.label}", name),
                )
        controls = {name: ref.controls.get(name, control.default) for name, control in known.items()}
        key = (self._key(self.folder(ref.model)), ref.latent, tuple(sorted(controls.items())))
        if key not in self._scenes:
            progress(0.0, "Synthesising")
            while len(self._scenes) >= MAX_SCENES:
                self._scenes.popitem(last=False)
            with torch.no_grad():
                ws = ws_from_latent(generator, ref.latent, self.stored_code)
                self._scenes[key] = generator.synthesize(ws, controls)
        self._scenes.move_to_end(key)
        return self._scenes[key]

    def cached_field(
        self, ref: SceneRef, resolution: int, make: Callable[[], CachedField | None]
    ) -> CachedField | None:
        """Return the cached field of a scene at a resolution, or the one that `make` returns. Only the last is kept."""
        key = self._key(self.folder(ref.model)), replace(ref, world_from_scene=IDENTITY4), resolution
        if self._cached_field is None or self._cached_field[0] != key:
            self._cached_field = None  # before the next one takes its memory
            self._cached_field = key, make()
        return self._cached_field[1]

    def stored_code(self, sha256: str) -> torch.Tensor:
        """Return a stored code: float32 [num_ws, w_dim], or [1, w_dim]. Raises BlobMissing, MalformedPayload."""
        try:
            ws = self.blobs.read_message(sha256, CodeBlob).ws
        except BlobMissing as error:
            raise BlobMissing(
                "The stored latent of this shape is not on this computer. Complete the scan again, or send the latent.",
                remedy=Remedy("upload_again", "Send the latent", sha256),
            ) from error
        if ws.dtype.kind != "f":
            raise MalformedPayload(f"the stored latent has the dtype {ws.dtype}, not a floating-point one")
        code = torch.tensor(ws, dtype=torch.float32)
        if not code.isfinite().all():
            raise MalformedPayload("the stored latent holds values that are not finite")
        return code

    # --------------------------------------------------------------------------------------------------------- memory

    def unload(self) -> None:
        """Free the memory of models and scenes."""
        if self._models or self._scenes:
            log.info("unloading %d models and %d scenes", len(self._models), len(self._scenes))
        self._models.clear()
        self._scenes.clear()
        self._cached_field = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def _drop_oldest_model(self) -> None:
        key, _ = self._models.popitem(last=False)
        for scene in [k for k in self._scenes if k[0] == key]:
            del self._scenes[scene]

    def free_memory(self) -> int:
        """Return the bytes that a task could still take on the device."""
        if self.device.type == "cuda":
            return int(torch.cuda.mem_get_info(self.device)[0])
        return int(psutil.virtual_memory().available)

    def check_memory(self, what: str, size: int, bytes_of_size: list[tuple[int, int]]) -> None:
        """Refuse a size that cannot fit, before the work starts.

        bytes_of_size: (size, bytes needed) of the requested size and of smaller ones to offer, descending.

        Raises:
            OutOfMemory: with the largest size that would fit as its remedy.
        """
        free = self.free_memory()
        needed = dict(bytes_of_size)[size]
        if needed <= free:
            return
        fitting = next((s for s, wanted in bytes_of_size if wanted <= free), None)
        raise OutOfMemory(
            f"{what} {size} needs about {gigabytes(needed)} of memory and {gigabytes(free)} are free."
            + (f" {fitting} would fit." if fitting else " Close other programs, or use a smaller model."),
            remedy=Remedy("lower_resolution", f"Use {fitting}", fitting) if fitting else None,
        )


def gigabytes(count: int) -> str:
    """Return a number of bytes for the user."""
    return f"{count / 2**30:.1f} GB"


def _card_file(where: Path) -> Path:
    """Return the file that holds the card of a model folder or of a scene file."""
    return where if where.is_file() else where / "card.json"


def _read_card(where: Path) -> cards.ModelCard:
    return read_scene_card(where) if where.is_file() else cards.read_card(where)


def _load(where: Path, device: torch.device | str) -> Generator:
    return load_scene(where, device) if where.is_file() else library.load_model(where, device)


def _stored_info(folder: Path) -> ModelInfo:
    """Return a model's info, cached in a small file so that listing models does not load them all."""
    try:
        weights = (folder if folder.is_file() else folder / "model.safetensors").stat()
        card = b"" if folder.is_file() else _card_file(folder).read_bytes()
    except OSError as error:
        raise UnreadableModel(
            f"The model in {folder} lacks a file ({error.strerror}: {error.filename}). Import it again.",
            remedy=Remedy("import_again", "Import the model again", folder.name),
        ) from error
    what = f"{VERSION} {folder.name} {weights.st_size} {weights.st_mtime_ns}".encode()
    path = data_folder() / "infos" / f"{hashlib.sha256(what + card).hexdigest()}.json"
    try:
        return payload.from_json(ModelInfo, path.read_bytes())
    except (OSError, LatheError):
        info = _load(folder, "cpu").info
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, payload.to_json(info))
    except OSError as error:
        log.warning("%s: the info of %s is not kept", error, folder.name)
    return info
