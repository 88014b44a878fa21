"""Task `import_checkpoint`: an official checkpoint as a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..checks import check_files, check_name
from ..errors import InvalidRequest
from ..options import option


@dataclass(frozen=True)
class ImportRequest:
    """Task `import_checkpoint` -> ModelResult: an official checkpoint, stored as a model of this name. Its code is
    never run."""

    name: str
    files: dict[str, str]  # path -> sha256 of the uploaded bytes; several files are one folder
    kind: str = field(
        default="",
        metadata=option(
            "Architecture", "Architecture of the checkpoint, one that `models` lists; empty detects it from the files"
        ),
    )
    label: str = field(
        default="", metadata=option("Label", "Name of the model in the panel; empty takes it from the files")
    )

    def __post_init__(self) -> None:
        check_name("name", self.name)
        check_files(self.files)
        if not self.files:
            raise InvalidRequest("there is nothing to import: choose a checkpoint")
        if self.kind:
            check_name("kind", self.kind)
        if len(self.label) > 100:
            raise InvalidRequest(f"label may have at most 100 characters, got {len(self.label)}")
