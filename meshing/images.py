"""Opening of image files: the one place that Pillow decodes through.

Pillow tells a format by content, not by name, and some of its readers start other programs (PostScript) or are rarely
exercised. Only the formats listed here reach a decoder, also within libraries that open textures through Pillow; only
regular files are opened, and none with more pixels than `MAX_PIXELS`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
READ = "PNG, JPEG, WebP, TIFF and BMP"
MAX_PIXELS = 300_000_000
MAX_BYTES = 2 << 30


class NotAnImage(ValueError):
    """A file that no listed decoder reads, that is no regular file, or that is too large."""


class NotAFile(NotAnImage):
    """A pipe, a device, a socket or a folder."""


def reason(error: Exception) -> str:
    """Return why a file could not be opened, in words of the system without number and path."""
    return str(getattr(error, "strerror", None) or error)


def only_listed_formats() -> None:
    """Take all other decoders, and the limit of pixels, from Pillow in this process. Costs nothing when called again.

    `Image.init` has to come first: it adds decoders where an image is not recognised.
    """
    Image.init()
    Image.ID[:] = [name for name in Image.ID if name in FORMATS]
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS


@contextlib.contextmanager
def open_image(source: Path | IO[bytes], *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open an image; its size is checked, its pixels are decoded on first use.

    Raises:
        NotAnImage: another format, no regular file, or more than `max_pixels`.
        OSError, SyntaxError, EOFError, ValueError: a damaged file, as Pillow raises them.
    """
    only_listed_formats()
    with contextlib.ExitStack() as closing:
        stream = closing.enter_context(open_regular(source)) if isinstance(source, Path) else source
        try:
            image = closing.enter_context(Image.open(stream, formats=FORMATS))
        except Image.UnidentifiedImageError:
            stream.seek(0)
            raise NotAnImage(_what(stream.read(32))) from None
        except Image.DecompressionBombError as error:
            raise NotAnImage(f"it has too many pixels: the most is {MAX_PIXELS // 1_000_000} million") from error
        width, height = image.size
        if width * height > max_pixels:
            raise NotAnImage(f"it has {width} × {height} pixels; the most is {max_pixels // 1_000_000} million")
        yield image


def open_regular(path: Path) -> IO[bytes]:
    """Open a file to read; a pipe, a device or a folder is refused and never waited for. Raises OSError, NotAnImage."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise NotAFile("it is not a file, but a pipe, a device or a folder")
        if found.st_size > MAX_BYTES:
            raise NotAnImage(f"it has {found.st_size / 1e9:.1f} GB; the most is {MAX_BYTES / 1e9:.1f} GB")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


_OTHERS = (
    (b"%!PS", "PostScript"),
    (b"%PDF", "PDF"),
    (b"GIF8", "GIF"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"8BPS", "Photoshop"),
    (b"\x93NUMPY", "NumPy array"),
    (b"version https://git-lfs", "Git LFS pointer (fetch it with `git lfs pull`)"),
    (b"glTF", "GLB"),
    (b"ply\n", "PLY"),
    (b"ply\r\n", "PLY"),
    (b"PK\3\4", "ZIP"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"<?xml", "XML"),
    (b"<", "text, as a web page is"),
)


def kind_of(head: bytes) -> str:
    """Return what a file with these first bytes is, in words; "" where that is not known."""
    if head[4:8] == b"ftyp":
        return "HEIC" if head[8:12] in (b"heic", b"heix", b"mif1", b"hevc", b"msf1") else "video, or AVIF"
    return next((name for start, name in _OTHERS if head.startswith(start)), "")


def _what(head: bytes) -> str:
    """Return why a file with these first bytes is not read."""
    if not head:
        return "it is empty: it may be truncated"
    kind = kind_of(head)
    if not kind:
        return f"it is none of {READ}, or it is damaged or truncated"
    if kind in FORMATS:
        return f"it is a {kind} file that is damaged or truncated"
    return f"it is a {kind} file; {READ} are read"
