"""Task `import_checkpoint`: convert an official checkpoint to a model folder. A child process reads its pickles."""

from __future__ import annotations

import time
from pathlib import PurePosixPath

from addon.wire.errors import InvalidRequest, LatheError, Remedy
from addon.wire.messages import ImportRequest, ModelResult

from ..checkpoints.convert import import_model
from ..files import cannot_write, temporary_folder
from ..folders import data_folder, user_models
from ..models import card as cards
from ..models import store
from ..progress import Progress, part
from .fit_staging import stage_files
from .workspace import Workspace


def import_checkpoint(request: ImportRequest, progress: Progress, workspace: Workspace) -> ModelResult:
    """Give the uploads their names in a folder of their own and convert what lies there.

    Raises:
        InvalidRequest: the name belongs to a model that was not imported.
        BlobMissing: a file was not uploaded.
        UnreadableFile, UnsafeCheckpoint, UnknownCheckpoint, CannotWrite: see `import_model`.
    """
    started = time.perf_counter()
    _check_free(request.name)
    names = [PurePosixPath(name) for name in request.files]
    folder = data_folder()
    try:
        with temporary_folder(data_folder(), "import") as place:
            folder = place / request.name
            stage_files(request.files, folder, workspace.blobs, part(progress, 0.0, 0.2))
            progress(0.2, "Reading and converting the checkpoint")
            source = folder / names[0] if len(names) == 1 else folder
            import_model(source, user_models() / request.name, request.kind or None, label=request.label)
    except LatheError as error:  # the temporary folder means nothing to the user
        message = error.message.replace(f"{folder}/", "").replace(str(folder), "The folder")
        raise type(error)(message, remedy=error.remedy) from error
    except OSError as error:
        raise cannot_write("The checkpoint", data_folder(), error) from error
    return ModelResult(request.name, time.perf_counter() - started)


def _check_free(name: str) -> None:
    folder = store.find_models().get(name)
    if folder is not None and cards.read_card(folder).source != "imported":
        raise InvalidRequest(
            f"There is a model named {name!r} already that was not imported. Choose another name.",
            remedy=Remedy("choose_name", "Choose another name"),
        )
