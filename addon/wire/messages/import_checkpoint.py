"""Task `import_checkpoint`: an official checkpoint as a model."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidRequest
from .common import check_files, check_name


@dataclass(frozen=True)
class ImportRequest:
    """Task `import_checkpoint` -> ModelResult: an official checkpoint, kept as a model of this name. No code that lies
    in it is run."""

    name: str
    files: dict[str, str]  # path -> sha256 of the uploaded bytes; several files are one folder
    kind: str = ""  # architecture, one of ModelList.kinds; empty: as the files tell
    label: str = ""  # what the panel calls it; empty: as the files tell

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_files(self.files)
        if not self.files:
            raise InvalidRequest("there is nothing to import: choose a checkpoint")
        if self.kind:
            check_name("kind", self.kind)
        if len(self.label) > 100:
            raise InvalidRequest(f"label may have at most 100 characters, got {len(self.label)}")
