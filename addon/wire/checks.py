"""Limits of messages, and the checks that requests make when they are built."""

from __future__ import annotations

import math
import re

from .errors import InvalidRequest, Remedy

MAX_IMAGE_SIDE = 8192  # pixels
MAX_RESOLUTION = 1024  # cells of a meshing grid
MAX_SEED = 2**31 - 1
MAX_NUMBER = 1e12  # entries of matrices: metres, pixels
MAX_FILES = 8000  # files of a data set; more do not fit into one request
MAX_FILE_NAME = 240  # characters of a file's path within its data set

_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
_UNPORTABLE = re.compile(r"[\x00-\x1f\x7f<>:\"|?*\\]")  # characters that file names on some system cannot have
_DEVICES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def check_range(name: str, value: float, minimum: float, maximum: float) -> None:
    """Raise InvalidRequest where the value is not finite or out of range; its remedy sets the nearest valid value."""

    def shown(number: float) -> str:
        return str(number) if isinstance(number, int) else f"{number:g}"

    if not (math.isfinite(value) and minimum <= value <= maximum):
        nearest = min(max(value, minimum), maximum)
        raise InvalidRequest(
            f"{name} must be between {shown(minimum)} and {shown(maximum)}, got {shown(value)}: choose another",
            remedy=Remedy("set_value", f"Set {name} to {shown(nearest)}", name) if math.isfinite(value) else None,
        )


def check_name(what: str, value: str) -> None:
    """Raise InvalidRequest unless the value can be the name of a model folder on every system."""
    if not _NAME.match(value):
        raise InvalidRequest(f"{what} must be letters, digits, '.', '-' and '_', got {value[:100]!r}")


def check_sha256(what: str, value: str) -> None:
    """Raise InvalidRequest unless the value is a sha256 in lower-case hex digits."""
    if not _SHA256.match(value):
        raise InvalidRequest(f"{what} must be a sha256 in 64 lower-case hex digits, got {value[:80]!r}")


def check_files(files: dict[str, str]) -> None:
    """Raise InvalidRequest unless these are relative paths inside one folder on every system, each with a sha256."""
    if len(files) > MAX_FILES:
        raise InvalidRequest(f"a data set may have at most {MAX_FILES} files, got {len(files)}: leave some images out")
    seen: set[str] = set()
    for name, sha256 in files.items():
        parts = name.split("/")
        if len(name) > MAX_FILE_NAME or _UNPORTABLE.search(name):
            raise InvalidRequest(f"{name[:100]!r} is not a valid file name on every system: rename the file")
        if any(p in ("", ".", "..") or p[-1] in ". " or _DEVICES.match(p) for p in parts):
            raise InvalidRequest(f"{name[:100]!r} is not a path inside the data set")
        check_sha256(f"the content of {name!r}", sha256)
        seen.add(name.casefold())
    if len(seen) != len(files):
        raise InvalidRequest("two files of the data set differ in upper and lower case only: rename one")
    for name in seen:
        parts = name.split("/")
        if any("/".join(parts[:count]) in seen for count in range(1, len(parts))):
            raise InvalidRequest(f"{name[:100]!r} is inside a path that is itself a file of the data set")


def check_controls(controls: dict[str, float]) -> None:
    """Raise InvalidRequest for a value that is not finite."""
    for name, value in controls.items():
        if not math.isfinite(value):
            raise InvalidRequest(f"control {name[:100]!r} is not finite")


def check_finite(what: str, rows: tuple[tuple[float, ...], ...]) -> None:
    """Raise InvalidRequest for entries that are not finite, or beyond MAX_NUMBER, where products overflow."""
    if not all(abs(value) <= MAX_NUMBER for row in rows for value in row):
        raise InvalidRequest(f"{what} has a value that is not finite, or larger than {MAX_NUMBER:g}")
