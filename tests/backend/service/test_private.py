"""What the backend keeps is its user's alone, and names from elsewhere cannot write into its log."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import build
from backend.service.serve import OneLine

PROGRAM = """
import sys
from pathlib import Path
from backend.files import write_atomically
from backend.service.journal import JobJournal
from backend.service.serve import keep_private
data = Path(sys.argv[1])
keep_private(data)
JobJournal(data)
(data / "models" / "one").mkdir(parents=True)
write_atomically(data / "models" / "one" / "card.json", b"{}")
"""


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize("there", [False, True])
def test_folders_and_files_are_for_the_user_alone(tmp_path: Path, there: bool) -> None:
    data = tmp_path / "data"
    if there:
        data.mkdir(mode=0o755)
    subprocess.run([sys.executable, "-c", PROGRAM, str(data)], cwd=build.ROOT, check=True, umask=0o022)
    found = [data, *data.rglob("*")]
    assert len(found) >= 5
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}


def test_control_characters_in_a_line_of_the_log_are_shown() -> None:
    record = logging.LogRecord("a", logging.INFO, "f.py", 1, "read %s", ("\x1b]0;owned\x07\nFAKE",), None)
    assert OneLine("%(name)s: %(message)s").format(record) == "a: read \\x1b]0;owned\\x07\\nFAKE"
