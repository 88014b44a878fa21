"""Task `training_set`: cancelled and continued, in a folder that it may write to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from addon.wire.errors import Cancelled, CannotWrite, InvalidRequest
from addon.wire.messages import TrainingSetRequest
from backend.progress import silent
from backend.tasks.training_set import training_set


def test_a_cancelled_set_is_continued(tmp_path: Path) -> None:
    request = TrainingSetRequest(str(tmp_path), objects=3, views=2, size=16)

    def after_one(fraction: float, *_: Any, **__: Any) -> None:
        if fraction > 0:
            raise Cancelled()

    with pytest.raises(Cancelled):
        training_set(request, after_one, None)
    kept = {path: path.read_bytes() for path in (tmp_path / "images").iterdir()}
    assert len(kept) == 2
    made = training_set(request, silent, None)
    assert (made.images, made.rendered) == (6, 4)
    assert all(path.read_bytes() == data for path, data in kept.items())


def test_a_folder_must_be_absolute_and_writable(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="not an absolute path"):
        training_set(TrainingSetRequest("chairs"), silent, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="could not be stored"):
        training_set(TrainingSetRequest(str(tmp_path / "file")), silent, None)
