"""Import of official checkpoints: the files to upload, and the name of the new model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import bpy

from ..backend.actions import problem_python
from ..link.client import Client
from ..link.jobs import Job
from ..link.session import session
from ..preferences import configure
from ..scene import apply
from ..scene.apply import Handle
from ..scene.settings import set_model
from ..wire import errors
from ..wire.messages import ImportRequest
from . import actions

SUFFIXES = (".pkl", ".pth", ".pt", ".tar", ".npy", ".pickle", ".ckpt", ".index", ".json")
FILTER = ";".join(f"*{suffix}" for suffix in SUFFIXES)
MAX_DEPTH = 4
MAX_FILES = 2000
_PIECE = re.compile(r"\.data-\d{5}-of-\d{5}$")


def problem_import(context: Any) -> str:
    """Return why no checkpoint can be imported, or an empty string."""
    if session.jobs.find("import"):
        return "A checkpoint is being imported: wait for it or cancel it at the top"
    return problem_python(context)


def files_of(path: Path) -> dict[str, Path]:
    """Return the files of a checkpoint by their path within it.

    One file of a TensorFlow checkpoint stands for all of its files; a folder for all files in it that can belong to a
    checkpoint. Raises UnreadableFile, TooLarge.
    """
    if path.is_dir():
        found = dict(_below(path))
        if not found:
            raise errors.UnreadableFile(f"{path} holds no checkpoint: expected files that end in {', '.join(SUFFIXES)}")
        return found
    if not path.is_file():
        raise errors.UnreadableFile(f"There is no file {path}: choose the checkpoint again")
    prefix = path.name.removesuffix(".index") if path.suffix == ".index" else _PIECE.sub("", path.name)
    if prefix == path.name:
        return {path.name: path}
    beside = (other for other in sorted(path.parent.iterdir()) if other.is_file())
    pieces = (other for other in beside if other.name == f"{prefix}.index" or _is_piece(other.name, prefix))
    return {other.name: other for other in pieces}


def _is_piece(name: str, prefix: str) -> bool:
    return name.startswith(f"{prefix}.") and _PIECE.search(name) is not None


def _below(root: Path) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    pending = [(root, 0)]
    while pending:
        folder, depth = pending.pop()
        for path in sorted(folder.iterdir()):
            if path.is_symlink():
                continue  # it could point anywhere
            if path.is_dir() and depth < MAX_DEPTH:
                pending.append((path, depth + 1))
            elif path.is_file() and (path.suffix.lower() in SUFFIXES or _PIECE.search(path.name)):
                found.append((path.relative_to(root).as_posix(), path))
            if len(found) > MAX_FILES:
                raise errors.TooLarge(f"{root} holds more than {MAX_FILES} files: choose the checkpoint's own folder")
    return found


def model_name(path: Path) -> str:
    """Return an unused model name for a checkpoint."""
    return free_name(
        _PIECE.sub("", path.name) if _PIECE.search(path.name) else path.name if path.is_dir() else path.stem
    )


def free_name(text: str) -> str:
    """Return a text as an unused model name, with a number appended if it is taken."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:90] or "model"
    taken = {*session.models, *(broken.name for broken in session.broken_models)}
    if name not in taken:
        return name
    return next(f"{name}-{number}" for number in range(2, len(taken) + 3) if f"{name}-{number}" not in taken)


def import_checkpoint(context: Any, filepath: str, name: str = "", kind: str = "") -> Job:
    """Import an official checkpoint, a file or a folder. Result: the name of the new model, which becomes the scene's.

    name: of the model; an imported model of this name is replaced. Empty: the file's, with a number if it is taken.
    kind: architecture; empty: detected from the files.

    Raises:
        UnreadableFile, TooLarge, InvalidRequest.
    """
    problem = problem_import(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    path = Path(bpy.path.abspath(filepath))
    files = files_of(path)
    wanted = name or model_name(path)
    scene = Handle.of("scenes", context.scene)
    session.importing = str(path)

    def run(job: Job, client: Client) -> str:
        sent: dict[str, str] = {}
        for number, (given, file) in enumerate(files.items()):
            job.report(0.3 * number / len(files), f"Sending {file.name}")
            sent[given] = client.upload_file(file, job.check)
        label = "" if wanted == path.stem else wanted
        result = job.ask(client, ImportRequest(wanted, sent, kind, label), start=0.3)
        session.refresh_models(client)
        return str(result.name)

    def then(model: str) -> str:
        found = scene.find()
        if found is not None and model in session.models:
            set_model(found.lathe, session.models[model])
            actions.suit_view(found, session.models[model])
            apply.undo_push(f"Lathe: model {model}")
        return model

    return session.start(
        f"Import {path.name}",
        run,
        then,
        kind="import",
        survives_load=True,
    )
