"""Images, masks and depth from files, by Pillow.

Cameras of a data set belong to pixels as they are stored, as nerfstudio, instant-ngp and COLMAP read them. A photograph
that its EXIF orientation turns is turned only where the camera has the turned size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from addon.wire.errors import UnreadableFile
from meshing.images import NotAnImage, open_image, open_regular

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
ORIENTATION = 0x0112  # EXIF tag
_TRANSPOSED = (5, 6, 7, 8)  # its values that swap width and height


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Convert the exceptions of Pillow and the system for a bad file to UnreadableFile."""
    try:
        yield
    except FileNotFoundError:
        raise UnreadableFile(
            f"The {what} {path.name} is missing: it should be in {path.parent}. Copy it there, or take its entry out "
            "of the data set."
        ) from None
    except NotAnImage as error:
        raise UnreadableFile(f"The {what} {path.name} cannot be read: {error}.") from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise UnreadableFile(
            f"The {what} {path.name} cannot be read ({error}): it may be truncated. Copy or render it again."
        ) from error


def read_size(path: Path) -> tuple[tuple[int, int], bool]:
    """Return ((width, height) as stored, whether EXIF would swap them); reads the header alone.

    Raises:
        UnreadableFile: missing, or not an image.
    """
    with reading(path, "image"), open_image(path) as image:
        turned = path.suffix.lower() != ".png" and image.getexif().get(ORIENTATION) in _TRANSPOSED
        return image.size, turned


def to_8_bit(image: Image.Image) -> Image.Image:
    """Return grey images of 16 bits as 8 bits; Pillow itself would clip them."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image


def read_rgb(path: Path, width: int, height: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return rgb uint8 [H, W, 3] and alpha uint8 [H, W] or None of the image whose camera has width × height.

    Raises:
        UnreadableFile: missing, truncated, or of another size than when the data set was opened.
    """
    with reading(path, "image"), open_image(path) as opened:
        opened.load()
        image = to_8_bit(opened)
        if image.size != (width, height) and image.getexif().get(ORIENTATION) in _TRANSPOSED:
            image = ImageOps.exif_transpose(image)
        if image.size != (width, height):
            raise ValueError(f"{image.size[0]} × {image.size[1]} pixels where the camera has {width} × {height}")
        if "A" in image.getbands() or "transparency" in image.info:
            rgba = np.array(image.convert("RGBA"))
            return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
        return np.array(image.convert("RGB")), None


def read_mask(path: Path, *, keeps: Literal["white", "black"]) -> np.ndarray:
    """Return bool [H, W], True = use this pixel. "white": 0 is ignored; "black": what is not 0 is ignored.

    Raises:
        UnreadableFile: missing or damaged.
    """
    with reading(path, "mask"), open_image(path) as image:
        image.load()
        grey = np.array(image if image.mode in ("1", "L", "I", "I;16") else image.convert("L"))
    return (grey != 0) == (keeps == "white")


def read_depth(path: Path, *, scale: float) -> np.ndarray:
    """Return float32 [H, W] metres along z: 16-bit PNG or TIFF, float TIFF, or .npy, times `scale`; NaN where 0.

    Raises:
        UnreadableFile: missing, damaged, or of a format that is not read (EXR).
    """
    if path.suffix.lower() == ".exr":
        raise UnreadableFile(
            f"The depth image {path.name} is an EXR file, which is not read: save depth as 16-bit PNG or as .npy."
        )
    with reading(path, "depth image"):
        if path.suffix.lower() == ".npy":
            with open_regular(path) as file:
                stored = np.load(file, allow_pickle=False)
            stored = stored[..., 0] if stored.ndim == 3 and stored.shape[2] == 1 else stored
        else:
            with open_image(path) as image:
                image.load()
                stored = np.array(image)
        if stored.ndim != 2 or stored.dtype.kind not in "uif":
            raise ValueError(f"expected one number for each pixel, got {stored.dtype} of shape {list(stored.shape)}")
        depth = stored.astype(np.float32) * np.float32(scale)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
