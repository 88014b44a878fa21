"""What killed processes leave behind is removed, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

from backend.files import remove_leftovers, temporary_folder

DEAD = 2**22 + 1  # above the largest number of a process


def test_folders_of_processes_that_have_ended_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    with temporary_folder(tmp_path, "import") as mine:
        (mine / "tensors").write_bytes(b"1")
        assert mine.stat().st_mode & 0o777 == 0o700
        for name in (f".import-ab.{DEAD}.part", f".fit.{DEAD}.part"):
            (tmp_path / name / "dataset").mkdir(parents=True)
        (tmp_path / f".other.{DEAD}.part").touch()
        for name in (".hidden.part", "visible.part", f"{DEAD}.part", "model"):
            (tmp_path / name).touch()
        remove_leftovers(tmp_path, "import")
        assert (tmp_path / f".fit.{DEAD}.part").is_dir()
        remove_leftovers(tmp_path)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {mine.name, ".hidden.part", "visible.part", f"{DEAD}.part", "model"}
        assert f".{os.getpid()}." in mine.name
    assert not mine.exists()
