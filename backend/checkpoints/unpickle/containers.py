"""Containers of pickles: torch's zip and legacy stream, plain pickles and numpy's .npy."""

from __future__ import annotations

import ast
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from .machine import Budget, Machine
from .records import STORAGES, Damaged, DType, Storage, UnknownContainer, refuse
from .tables import GlobalName, checked_sizes, expect, numpy_dtype, printable

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled
_MAX_ENTRIES = 100_000


def _storage_from_id(identifier: Any) -> tuple[DType, str, int, Any]:
    """Return (type, key, bytes, view) of torch's persistent id ("storage", type, key, location, elements[, view])."""
    if not isinstance(identifier, tuple) or len(identifier) not in (5, 6) or identifier[0] != "storage":
        refuse("it refers to data in a way that torch does not")
    _, kind, key, location, numel = identifier[:5]
    if not isinstance(kind, GlobalName) or kind.name not in STORAGES or not kind.module.startswith("torch"):
        refuse(f"it declares a storage of type {kind}")
    if not isinstance(key, str) or not re.fullmatch(r"[0-9A-Za-z_]{1,64}", key) or not isinstance(location, str):
        refuse("it declares a storage without a proper name")
    (count,) = checked_sizes((numel,), "a length")
    dtype = STORAGES[kind.name]
    return dtype, key, count * dtype.size, identifier[5] if len(identifier) == 6 else None


def _read_zip(data: memoryview, budget: Budget) -> Any:
    """Read torch.save since 1.6: an uncompressed zip with NAME/data.pkl and NAME/data/<key> for each storage."""
    entries = dict(_zip_entries(data))
    names = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in entries):
        refuse("it is a TorchScript archive, which holds code")
    if len(names) != 1:
        raise UnknownContainer(
            "it is a zip file, but not one that torch.save wrote; if it holds a checkpoint, unpack it first"
        )
    prefix = names[0].removesuffix("data.pkl")
    if bytes(entries.get(prefix + "byteorder", b"little")) != b"little":
        raise UnknownContainer("it was written on a big-endian machine")
    storages: dict[str, Storage] = {}

    def load(identifier: Any) -> Storage:
        dtype, key, nbytes, view = _storage_from_id(identifier)
        if view is not None:
            refuse("it declares a view of a storage, which this format does not have")
        if key not in storages:
            content = entries.get(f"{prefix}data/{key}")
            if content is None:
                refuse(f"it declares a storage of {nbytes} bytes that is not in the file")
            storages[key] = Storage(dtype, len(content), content)
        storage = storages[key]
        if storage.nbytes != nbytes:
            refuse(f"it declares a storage of {nbytes} bytes where the file has {storage.nbytes}")
        return storage if storage.dtype == dtype else Storage(dtype, nbytes, storage.data)

    return Machine(entries[names[0]], budget, load).run()


def _zip_entries(data: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Yield the (name, content) of an uncompressed zip, each checked to lie inside the file, apart from the others."""
    try:
        with zipfile.ZipFile(_File(data)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError, OverflowError) as error:
        raise Damaged(f"its table of contents cannot be read ({error})") from None
    if len(infos) > _MAX_ENTRIES:
        refuse(f"it is a zip file of {len(infos)} entries")
    seen: set[str] = set()
    free_from = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.filename
        shown = printable(name)
        if name in seen:
            refuse(f"it holds two entries of the name {shown!r}")
        seen.add(name)
        if info.orig_filename != name or "\\" in name or ":" in name or "\0" in name:
            refuse(f"it holds an entry of the odd name {shown!r}")
        if name.startswith("/") or any(part in ("", ".", "..") for part in name.removesuffix("/").split("/")):
            refuse(f"it holds an entry {shown!r} that points outside the archive")
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            refuse(f"its entry {shown!r} is a link or a device, not a file")
        if info.flag_bits & 0x1:
            refuse(f"its entry {shown!r} is encrypted")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            refuse(f"its entry {shown!r} is compressed, which torch.save never does")
        header = data[info.header_offset : info.header_offset + 30]
        if len(header) < 30 or bytes(header[:4]) != b"PK\x03\x04":
            raise Damaged(f"its entry {shown!r} is not where its table of contents says")
        start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
        end = start + info.file_size
        if info.header_offset < free_from or end > len(data):
            refuse(f"its entry {shown!r} overlaps another or lies outside the file")
        free_from = end
        content = data[start:end]
        if zlib.crc32(content) != info.CRC:
            raise Damaged(f"its entry {shown!r} has another checksum than when it was written")
        yield name, content


class _File(BytesIO):
    """A read-only file over a memoryview, without a copy: only the end of an archive is read through it."""

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data, self._at = data, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._data))[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._data) if size is None or size < 0 else min(len(self._data), self._at + size)
        content = bytes(self._data[self._at : end])
        self._at += len(content)
        return content


def _read_legacy(data: memoryview, budget: Budget) -> Any:
    """Read torch.save before 1.6: pickles of magic, protocol, system, object, keys; then the storages."""
    storages: dict[str, Storage] = {}

    def load(identifier: Any) -> Storage | GlobalName:
        if isinstance(identifier, tuple) and len(identifier) == 4 and identifier[0] == "module":
            return expect(identifier[1], GlobalName, "the class of a module")  # its source follows, and is dropped
        dtype, key, nbytes, view = _storage_from_id(identifier)
        root = storages.setdefault(key, Storage(dtype, nbytes))
        if root.nbytes != nbytes or root.dtype != dtype:
            refuse("it declares one storage with two sizes")
        if view is None:
            return root
        if not isinstance(view, tuple) or len(view) != 3:
            refuse("it declares an unknown view of a storage")
        start, count = (value * dtype.size for value in checked_sizes(view[1:], "a view"))
        if start + count > nbytes:
            refuse("it declares a view outside its storage")
        return Storage(dtype, count, root=root, start=start)

    machine = Machine(data, budget, load)
    machine.run()  # the magic number, which brought us here
    if machine.run() != 1001:
        raise UnknownContainer("it is of an unknown version of torch's legacy format")
    system = machine.run()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise UnknownContainer("it was written on a big-endian machine")
    value = machine.run()
    keys = machine.run()
    if not isinstance(keys, list) or len(keys) != len(set(map(str, keys))):
        refuse("its list of storages is none, or names one twice")
    for key in keys:
        storage = storages.get(key) if isinstance(key, str) else None
        count = int.from_bytes(machine.take(8), "little", signed=True)
        if storage is None:
            refuse("it lists a storage that nothing refers to")
        if count * storage.dtype.size != storage.nbytes:
            refuse(f"it declares a storage of {storage.nbytes} bytes where the file has {count * storage.dtype.size}")
        storage.data = machine.take(storage.nbytes)
    if len(keys) != len(storages):
        refuse("it declares storages that are not in the file")
    return value


def _read_npy(data: memoryview, budget: Budget) -> Any:
    """Read numpy.save: a header, then the raw array or, for arrays of objects, a pickle."""
    if len(data) < 12:
        raise Damaged("it ends in the middle")
    length_bytes = 2 if data[6] == 1 else 4
    length = int.from_bytes(data[8 : 8 + length_bytes], "little")
    start = 8 + length_bytes + length
    if length > 10_000 or start > len(data):
        raise Damaged("its header is longer than the file or than any header is")
    try:
        header = ast.literal_eval(bytes(data[8 + length_bytes : start]).decode("latin1").strip())
        descr, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        raise Damaged("its header cannot be read") from None
    machine = Machine(data[start:], budget)
    if descr in ("|O", "O"):
        return machine.run()
    if not isinstance(descr, str):
        raise UnknownContainer("it is a numpy array of structured elements")
    return machine.array(data[start:], numpy_dtype(machine, (descr,)), shape, bool(fortran))


def read_torch(data: memoryview, budget: Budget) -> Any:
    """Read any container, identified by its first bytes. Raises UnknownContainer."""
    start = bytes(data[:600])
    if start[:4] == b"PK\x03\x04":
        return _read_zip(data, budget)
    if start.startswith(_LEGACY):
        return _read_legacy(data, budget)
    if start[:6] == b"\x93NUMPY":
        return _read_npy(data, budget)
    if start[:1] and start[0] in b"\x80(]}cX":
        return Machine(data, budget).run()
    raise UnknownContainer(_looks_like(start))


def _looks_like(start: bytes) -> str:
    """Describe a file that is not a checkpoint, by its first bytes."""
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page: the download gave a page instead of the file; download it again from a browser"
    if start.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer: fetch the real file with `git lfs pull`"
    if start[257:262] == b"ustar":
        return "it is a tar archive: unpack it and choose the checkpoint inside"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        return "it is a compressed archive: unpack it and choose the checkpoint inside"
    if start[8:10] == b'{"':
        return "it is a safetensors file, which no official code of these models writes"
    if not start.strip(b"\0"):
        return "it holds nothing but zeros: the download did not finish"
    return "it is neither a torch file, a pickle nor a numpy file"
