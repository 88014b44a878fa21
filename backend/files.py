"""Files: written atomically (at any moment a path holds the old file or the new one), and JSON read with limits."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from addon.wire.errors import CannotWrite, Remedy, UnreadableFile
from meshing.images import NotAnImage, open_regular, reason

MAX_JSON_BYTES = 256 << 20


def read_json(path: Path) -> Any:
    """Return what a JSON file from elsewhere holds; a byte order mark is skipped.

    Raises:
        UnreadableFile: missing, no regular file, not UTF-8, too large, or not JSON.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_JSON_BYTES + 1)
        if len(data) > MAX_JSON_BYTES:
            raise ValueError(f"it has more than {MAX_JSON_BYTES >> 20} MiB")
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UnreadableFile(f"{path.name} is UTF-16 text: save it as UTF-8.")
        return json.loads(data.decode("utf-8-sig"))
    except FileNotFoundError:
        raise UnreadableFile(f"There is no file {path}.") from None
    except (OSError, NotAnImage) as error:
        raise UnreadableFile(f"{path} cannot be read: {reason(error)}.") from error
    except RecursionError as error:
        raise UnreadableFile(f"{path.name} is not valid JSON that is read: it nests too deeply.") from error
    except ValueError as error:
        raise UnreadableFile(
            f"{path.name} is not valid JSON ({error}): it may be truncated. Write it again."
        ) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically and durably. Raises OSError."""
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it replaces `path` at the end, or is removed after an exception.

    Removes what killed processes left of their attempts. Raises OSError.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        number = left.suffixes[-2].removeprefix(".")
        if not (number.isdigit() and psutil.pid_exists(int(number))):
            left.unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        replace_file(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(place: Path, name: str) -> Iterator[Path]:
    """Make a folder in `place` for the time of the context; what a killed process leaves, `remove_leftovers` removes.

    Raises OSError.
    """
    place.mkdir(parents=True, exist_ok=True)
    folder = place / f".{name}-{secrets.token_hex(4)}.{os.getpid()}.part"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(place: Path, name: str = "") -> None:
    """Remove the partial files and folders in `place`, whose names start with `name`, of processes that have ended."""
    for left in place.glob(f".{glob.escape(name)}*.part"):
        if left.is_dir() and not left.is_symlink() and _ended(left):
            shutil.rmtree(left, ignore_errors=True)
        elif _ended(left):
            with contextlib.suppress(OSError):
                left.unlink()


def _ended(partial: Path) -> bool:
    """Return whether the process has ended whose number a partial file has before its last ending."""
    number = partial.suffixes[-2].removeprefix(".") if len(partial.suffixes) > 1 else ""
    return number.isdigit() and not psutil.pid_exists(int(number))


READER_FOLDER = "latent_lathe-reader"
"""Start of the names of folders in that for temporary files, for what the reader of checkpoints gives back."""

JOURNAL = ".publish.json"


def publish(folder: Path, contents: dict[str, bytes]) -> None:
    """Write several files of a folder as one: whenever the process is killed, `recover` finds all old or all new.

    They are written beside their places first; a journal, itself written atomically, then promises them; then each is
    renamed. Raises OSError; before the journal is there, nothing has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recover(folder)
    parts = {f".{name}.{os.getpid()}.new": name for name in contents}
    try:
        for part, name in parts.items():
            with (folder / part).open("wb") as file:
                file.write(contents[name])
                file.flush()
                os.fsync(file.fileno())
        write_atomically(folder / JOURNAL, json.dumps(parts).encode())
    except BaseException:
        for part in parts:
            (folder / part).unlink(missing_ok=True)
        raise
    recover(folder)


def recover(folder: Path) -> None:
    """Finish what a killed process had promised to `publish` in a folder; remove what it had not. Raises OSError."""
    journal = folder / JOURNAL
    if journal.is_file():
        with contextlib.suppress(FileNotFoundError):  # another process may finish it at the same time
            parts = json.loads(journal.read_bytes())
            for part, name in parts.items():
                if part == Path(part).name and name == Path(name).name and (folder / part).is_file():
                    replace_file(folder / part, folder / name)
        journal.unlink(missing_ok=True)
    for left in folder.glob(".*.new"):
        if _ended(left):
            left.unlink(missing_ok=True)


def replace_file(partial: Path, path: Path) -> None:
    """Rename `partial` to `path`, replacing it. Windows refuses while the old file is being read, so it is retried for
    two seconds. Raises OSError."""
    for wait in (0.01, 0.05, 0.2, 0.5, 1.0):
        try:
            os.replace(partial, path)
            return
        except PermissionError:
            time.sleep(wait)
    os.replace(partial, path)


def cannot_write(what: str, folder: Path, error: OSError) -> CannotWrite:
    """Return the user's error for a failed write; a full disk is named."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CannotWrite(
            f"{what} could not be stored: the disk that holds {folder} is full. Free some space and try again.",
            remedy=Remedy("open_folder", "Show the folder", str(folder)),
        )
    return CannotWrite(
        f"{what} could not be stored in {folder}: {error.strerror or error}.",
        remedy=Remedy("open_folder", "Show the folder", str(folder)),
    )
