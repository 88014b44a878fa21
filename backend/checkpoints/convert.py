"""Import an official checkpoint: recognise it, convert it, store it as a model folder.

    path ─ read_tree ─> tree ─ detect ─> kind ─ <kind>/checkpoint.py: convert ─> ConvertedModel ─ save_model ─> folder

*Tree*: the content of a foreign file as plain data, read without running any of its code: dict, list, tuple, str,
numbers, `torch.Tensor` and `Opaque` (the saved state of an object, without its class). A folder is a
`CheckpointFolder`: relative path → tree, each file read on first access.

*checkpoint.py* of a model offers

    CLASSES                                      starts of the class names that its pickles may hold (optional)
    def recognise(tree: object) -> bool
    def convert(tree: object, path: Path) -> ConvertedModel

and demands a bijection between official tensors and parameters (`bijection`): nothing unused, nothing left at its
initial value, nothing reshaped by accident.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import json
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from addon.wire.errors import (
    LatheError,
    Remedy,
    UnknownCheckpoint,
    UnreadableFile,
    UnreadableModel,
    UnsafeCheckpoint,
)

from ..generators import checkpoint_reader, importable_kinds
from ..models.allocation import allocation_limit
from ..models.card import ModelCard, card_from_json, card_text
from ..models.library import generator_of, misfit
from ..models.store import save_model
from .isolated import read_checkpoint_isolated, read_many_isolated
from .tensorflow import bundle_prefix, is_bundle
from .unpickle import Opaque

PICKLED = (".pth", ".pt", ".pkl", ".tar", ".npy", ".pickle", ".ckpt")
MAX_FOLDER_FILES = 2000
MAX_FOLDER_DEPTH = 4
MAX_JSON_BYTES = 16 << 20
SMALL_BYTES = 4 << 20


@dataclass(frozen=True)
class ConvertedModel:
    """An official checkpoint converted to our terms: the content of a model folder."""

    kind: str  # key of MODELS
    constructor: dict[str, Any]  # arguments of the model's class, JSON only
    tensors: dict[str, Tensor]  # parameter name of our model → value
    licence: str  # of the official weights
    non_commercial: bool
    label: str = ""  # empty: the file's name
    description: str = ""
    metres_per_unit: float = 1.0
    pose_prior: dict[str, Any] = field(default_factory=dict)  # fields of messages.PosePrior that differ from the kind's
    card: str = ""  # Markdown
    sources: tuple[Path, ...] = ()  # the files that were read, where they are not the named one


class CheckpointReader(Protocol):
    """The checkpoint.py of a model."""

    def recognise(self, tree: object) -> bool:
        """Return whether the tree is an official file of this model. Exactly one reader recognises an official file."""

    def convert(self, tree: object, path: Path) -> ConvertedModel:
        """Return the model of an official file or folder. Raises UnknownCheckpoint."""


class CheckpointFolder(Mapping[str, object]):
    """A folder of official files: relative path (with /) → tree. Each is read in isolation on first access.

    Pickled files and .json go by their path; a TensorFlow bundle PREFIX.index + PREFIX.data-* goes by PREFIX and gives
    dict(variable name → tensor). Symbolic links are left out: they could point anywhere.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.links: list[str] = []
        self._names = list(self._find())
        self.loaded: dict[str, object] = {}  # trees so far, or the error in place of one

    def __getitem__(self, name: str) -> object:
        if name not in self.loaded and name in self._names:
            self._load(name)
        tree = self.loaded[name]
        if isinstance(tree, LatheError):
            raise tree
        return tree

    def _load(self, name: str) -> None:
        """Read a file; a small one together with all small ones, because starting a reader process takes longer."""
        if name.endswith(".json"):
            self.loaded[name] = _read_json(self.root / name)
            return
        pickled = [other for other in self._names if other not in self.loaded and not other.endswith(".json")]
        together = [other for other in pickled if other == name or self._is_small(other)]
        trees = read_many_isolated([self.root / other for other in together])
        self.loaded.update(zip(together, map(unwrapped, trees), strict=True))

    def _is_small(self, name: str) -> bool:
        path = self.root / name
        return path.is_file() and path.stat().st_size < SMALL_BYTES

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def matching(self, pattern: str) -> list[str]:
        """Return the names that match a pattern such as "ModelParameters/*.pth", `latest` and high numbers first."""

        def newest_first(name: str) -> tuple[int, int, str]:
            digits = "".join(c for c in Path(name).stem if c.isdigit())
            return ("latest" not in name, -int(digits[:18] or 0), name)

        return sorted(fnmatch.filter(self._names, pattern), key=newest_first)

    def _find(self) -> Iterator[str]:
        count = 0
        pending = [(self.root, 0)]
        while pending:
            folder, depth = pending.pop()
            for path in sorted(folder.iterdir()):
                count += 1
                if count > MAX_FOLDER_FILES:
                    raise UnknownCheckpoint(
                        f"{self.root} holds more than {MAX_FOLDER_FILES} files: choose the checkpoint's own folder."
                    )
                mode = path.lstat().st_mode
                name = path.relative_to(self.root).as_posix()
                if stat.S_ISLNK(mode):
                    self.links.append(name)
                elif stat.S_ISDIR(mode) and depth < MAX_FOLDER_DEPTH:
                    pending.append((path, depth + 1))
                elif stat.S_ISREG(mode) and path.suffix == ".index" and is_bundle(path):
                    yield name.removesuffix(".index")
                elif stat.S_ISREG(mode) and path.suffix.lower() in (*PICKLED, ".json"):
                    yield name


def read_tree(path: Path) -> object:
    """Read a foreign file or folder without running any of its code.

    Raises:
        UnreadableFile: missing, empty, damaged or half downloaded.
        UnsafeCheckpoint: it tries to run code, lies about its sizes, or takes too long.
        UnknownCheckpoint: an unknown container.
    """
    path = _checkpoint_of(Path(path))
    if not path.is_dir():
        return _read_file(path)
    folder = CheckpointFolder(path)
    if not folder:
        links = f" (the links {', '.join(folder.links[:3])} are not followed)" if folder.links else ""
        raise UnknownCheckpoint(f"{path} holds no checkpoint file{links}: expected {', '.join(PICKLED)} or .index.")
    return folder


def _checkpoint_of(path: Path) -> Path:
    """Resolve a path: a folder with one checkpoint to that file, a file named `checkpoint` to its folder."""
    if path.is_file() and path.name == "checkpoint":
        path = path.parent
    if path.is_dir():
        if (path / "card.json").is_file() and (path / "model.safetensors").is_file():
            raise UnknownCheckpoint(f"{path} is a model folder of this project already: copy it among the others.")
        names = list(CheckpointFolder(path))
        if len(names) == 1:
            return path / names[0]
    return path


def _read_file(path: Path) -> object:
    if path.suffix == ".json":
        return _read_json(path)
    return unwrapped(read_checkpoint_isolated(path))


def unwrapped(tree: Any) -> Any:
    """Return a tree in which names of tensors have no prefix of what was wrapped round the model in training.

    `module.` of DataParallel and of averaged models (whose counter `n_averaged` goes, too), `_orig_mod.` of
    torch.compile, in any order and number, wherever all tensors of a dictionary have them; `ema_model.` of an
    exponential moving average, which is then taken instead of the weights beside it.
    """
    if isinstance(tree, dict):
        return _without_prefixes({key: unwrapped(value) for key, value in tree.items()})
    if isinstance(tree, list):
        return [unwrapped(value) for value in tree]
    if isinstance(tree, tuple):
        return tuple(unwrapped(value) for value in tree)
    if isinstance(tree, Opaque):
        return Opaque(tree.module, tree.name, tree.args, unwrapped(tree.state))
    return tree


def _without_prefixes(found: dict[Any, Any]) -> dict[Any, Any]:
    """Return a dictionary of tensors under the names that its model gives them; any other stays as it is."""
    while True:
        names = [name for name, value in found.items() if isinstance(value, Tensor) and isinstance(name, str)]
        averaged = [name for name in names if name.startswith("ema_model.")]
        if averaged and any(name.startswith("online_model.") for name in names):
            found = {name: found[name] for name in averaged}
            names = averaged
        elif "n_averaged" in names and len(names) > 1 and found["n_averaged"].ndim == 0:
            found = {name: value for name, value in found.items() if name != "n_averaged"}
            names.remove("n_averaged")
        prefix = next((p for p in WRAPPERS if names and all(name.startswith(p) for name in names)), None)
        if prefix is None:
            return found
        found = {
            name.removeprefix(prefix) if isinstance(value, Tensor) and isinstance(name, str) else name: value
            for name, value in found.items()
        }


WRAPPERS = ("module.", "_orig_mod.", "ema_model.")


def _read_json(path: Path) -> object:
    try:
        if not path.is_file():
            raise OSError(f"{path} is not a file")
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UnsafeCheckpoint(
                f"{path.name} is a text of {path.stat().st_size >> 20} MiB: checkpoints have none that large."
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFile(f"{path} cannot be read as JSON: {error}") from error


def detect(path: Path, tree: object | None = None) -> str:
    """Return the kind of an official file or folder.

    Raises:
        UnknownCheckpoint: no kind recognises it. The message describes the content.
    """
    path = Path(path)
    tree = read_tree(path) if tree is None else tree
    for kind in importable_kinds():
        if checkpoint_reader(kind).recognise(tree):
            _refuse_several(path, tree)
            return kind
    raise UnknownCheckpoint(
        f"{path.name} is of an unknown architecture. It looks like {describe(tree)}. "
        f"Known: {', '.join(importable_kinds()) or 'none'}.",
        remedy=Remedy("choose_kind", "Say which kind it is"),
    )


def _refuse_several(path: Path, tree: object) -> None:
    """Refuse a folder with checkpoints of several models. Raises UnknownCheckpoint, naming them."""
    if not isinstance(tree, CheckpointFolder):
        return
    found: dict[str, str] = {}  # kind → the first file of it
    for name in tree:
        if "/" in name or name.endswith(".json"):
            continue  # a part of an experiment
        for kind in importable_kinds():
            if checkpoint_reader(kind).recognise(tree[name]):
                found.setdefault(kind, name)
                break
    if len(found) > 1:
        listed = ", ".join(f"{kind} ({name})" for kind, name in found.items())
        raise UnknownCheckpoint(f"{path} holds several systems: {listed}. Choose one file or its own folder.")


def import_model(path: Path, out_dir: Path, kind: str | None = None, *, label: str = "") -> ModelCard:
    """Read an official checkpoint and write a model folder (model.safetensors + card.json); return the card.

    Raises:
        UnreadableFile, UnsafeCheckpoint, UnknownCheckpoint: see `read_tree` and `detect`.
        CannotWrite: no space or no permission in out_dir.
    """
    path, out_dir = _checkpoint_of(Path(path)), Path(out_dir)
    if kind is not None and kind not in importable_kinds():
        raise UnknownCheckpoint(f"There is no kind {kind!r}. Known: {', '.join(importable_kinds())}.")
    tree = read_tree(path)
    kind = detect(path, tree) if kind is None else kind
    reader = checkpoint_reader(kind)
    budget = (512 << 20) + 8 * sum(tensor.nbytes for _, tensor in named_tensors(tree))
    try:
        with allocation_limit(budget, path.name):
            model = reader.convert(tree, path)
    except LatheError:
        raise
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise UnknownCheckpoint(
            f"{path.name} is not a {kind} checkpoint as its authors write it ({misfit(error)}). "
            f"It looks like {describe(tree)}."
        ) from error
    card = ModelCard(
        kind=model.kind,
        label=label or model.label or path.stem,
        description=model.description,
        licence=model.licence,
        non_commercial=model.non_commercial,
        constructor=json.loads(json.dumps(model.constructor)),  # tuples become lists, as when the card is read
        source="imported",
        source_sha256=sha256_of_all(model.sources) if model.sources else source_sha256(path),
        metres_per_unit=model.metres_per_unit,
        pose_prior=json.loads(json.dumps(model.pose_prior)),
        card=model.card,
    )
    _check_opens(out_dir, card, model.tensors, path)
    return save_model(out_dir, card, model.tensors)


def _check_opens(out_dir: Path, card: ModelCard, tensors: dict[str, Tensor], source: Path) -> None:
    """Check that a converted model can be opened, before it takes the place of an older one.

    Raises:
        UnknownCheckpoint: its numbers, read back as the card's, make no model.
    """
    try:
        generator_of(out_dir.name, card_from_json(card_text(card)), tensors, out_dir)
    except (UnreadableModel, ValueError, TypeError) as error:
        why = error.message if isinstance(error, UnreadableModel) else str(error)
        raise UnknownCheckpoint(
            f"{source.name} cannot be imported, because no model can be made of it: {why}"
        ) from error


def replaced(name: str, patterns: Iterable[tuple[str, str | Callable[[re.Match[str]], str]]]) -> str:
    """Return the name with each (pattern, replacement) applied in turn, as by `re.sub`."""
    for pattern, replacement in patterns:
        name = re.sub(pattern, replacement, name)
    return name


def bijection(
    official: Mapping[str, Tensor],
    parameters: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str] | Mapping[str, str] = lambda name: name,
    ignored: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """Return parameter name → official tensor, each used once and each filled.

    official: tensors by their official names. parameters: `model.state_dict()` of ours (values give shape and dtype
    only; a model on the meta device will do). rename: official name → ours. ignored: official name or pattern
    ("*.resample_filter") → the reason why it is not used.

    Raises:
        UnknownCheckpoint: a tensor unused, a parameter unfilled, two tensors for one parameter, or another shape.
    """
    ours = rename if callable(rename) else (lambda name: rename.get(name, name))
    filled: dict[str, Tensor] = {}
    problems: list[str] = []
    for name, tensor in official.items():
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in ignored or {}):
            continue
        target = ours(name)
        if target not in parameters:
            problems.append(f"{name} {list(tensor.shape)} has no place")
        elif target in filled:
            problems.append(f"{name} is a second value for {target}")
        elif tensor.shape != parameters[target].shape:
            problems.append(f"{name} is {list(tensor.shape)} instead of {list(parameters[target].shape)}")
        else:
            filled[target] = tensor.detach().to(parameters[target].dtype)
    touched = filled.keys() | {ours(name) for name in official}
    problems += [f"{name} {list(parameters[name].shape)} is missing" for name in parameters if name not in touched]
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UnknownCheckpoint(f"The tensors do not fit the model: {'; '.join(problems[:5])}{more}.")
    return filled


def state_dict(node: object) -> dict[str, Tensor]:
    """Return the parameters and persistent buffers of a module that was saved whole, or of a mapping of tensors.

    Names as `Module.state_dict()` gives them; an Opaque holds `_parameters`, `_buffers` and `_modules` as saved.
    """
    if isinstance(node, Mapping):
        return {str(name): value for name, value in node.items() if isinstance(value, Tensor)}
    if not isinstance(node, Opaque) or not isinstance(node.state, Mapping):
        return {}
    found: dict[str, Tensor] = {}
    passing = node.state.get("_non_persistent_buffers_set")
    passing = passing if isinstance(passing, (set, list, tuple)) else ()
    parameters, buffers, modules = (
        _mapping(node.state.get(f"_{name}")) for name in ("parameters", "buffers", "modules")
    )
    tensors = (*parameters.items(), *buffers.items())
    found.update({name: value for name, value in tensors if isinstance(value, Tensor) and name not in passing})
    for name, child in modules.items():
        found.update({f"{name}.{inner}": value for inner, value in state_dict(child).items()})
    return _without_prefixes(found)


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def describe(tree: object) -> str:
    """Describe a tree in words: its top-level names and its biggest tensors."""
    if isinstance(tree, CheckpointFolder):
        return f"a folder of {', '.join(list(tree)[:6])}{' …' if len(tree) > 6 else ''}"
    if isinstance(tree, Mapping):
        names = ", ".join(str(key) for key in list(tree)[:8]) + (" …" if len(tree) > 8 else "")
        what = f"a dictionary with {names}" if tree else "an empty dictionary"
    elif isinstance(tree, Opaque):
        what = f"an object of class {tree.module}.{tree.name}"
    elif isinstance(tree, Tensor):
        what = f"one tensor {list(tree.shape)}"
    elif isinstance(tree, (list, tuple)):
        what = f"a list of {len(tree)}"
    else:
        what = f"a {type(tree).__name__}"
    tensors = sorted(named_tensors(tree), key=lambda item: -item[1].numel())[:3]
    if tensors and not isinstance(tree, Tensor):
        what += "; biggest tensors: " + ", ".join(f"{name} {list(value.shape)}" for name, value in tensors)
    return what


def named_tensors(tree: object, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield (path, tensor) for every tensor of a tree."""
    if isinstance(tree, Tensor):
        yield prefix.removesuffix("."), tree
    elif isinstance(tree, CheckpointFolder):
        for name, loaded in tree.loaded.items():
            yield from named_tensors(loaded, f"{name}.")
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from named_tensors(value, f"{prefix}{key}.")
    elif isinstance(tree, (list, tuple)):
        for index, value in enumerate(tree):
            yield from named_tensors(value, f"{prefix}{index}.")
    elif isinstance(tree, Opaque):
        yield from named_tensors(tree.state, prefix)


def source_sha256(path: Path) -> str:
    """Return the sha256 of a file; of several, that of their relative names and sha256s, sorted by name.

    Several are a folder, or the files PREFIX.* of a TensorFlow checkpoint.
    """
    prefix = bundle_prefix(path)
    root = path if path.is_dir() else path.parent
    if path.is_dir() or prefix is not None:
        found = root.rglob("*") if prefix is None else root.glob(f"{glob.escape(prefix.name)}.*")
        return sha256_of_all([p for p in found if p.is_file() and not p.is_symlink()], root)
    return source_sha256_of_file(path)


def sha256_of_all(files: Iterable[Path], root: Path | None = None) -> str:
    """Return the sha256 of several files: of their names, relative to root or bare, and their sha256s, sorted."""
    named = sorted((p.relative_to(root).as_posix() if root else p.name, p) for p in files)
    lines = [f"{name} {source_sha256_of_file(p)}\n" for name, p in named]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def source_sha256_of_file(path: Path) -> str:
    """Return the sha256 of one file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
