"""Read a TensorFlow checkpoint (Saver V2: PREFIX.index + PREFIX.data-SSSSS-of-NNNNN) without TensorFlow.

The index is a sorted string table (the LevelDB format: blocks of prefix-compressed keys, an index block and a footer)
from variable name to a BundleEntryProto, the position of the variable's bytes in the data files. Both carry
checksums (CRC-32C, masked), and both are checked. PREFIX.meta holds the graph and is never read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from addon.wire.errors import Remedy, UnknownCheckpoint, UnreadableFile, UnsafeCheckpoint
from meshing.images import NotAnImage, open_regular

from .unpickle import BF16, BOOL, F16, F32, F64, I8, I16, I32, I64, U8, U16, DType, Limits, Storage, TensorRecord

TABLE_MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
MAX_INDEX_BYTES = 64 << 20
MAX_VARIABLES = 100_000

# tensorflow/core/framework/types.proto
DTYPES: dict[int, DType] = {
    1: F32, 2: F64, 3: I32, 4: U8, 5: I16, 6: I8, 9: I64, 10: BOOL, 14: BF16, 17: U16, 19: F16,
}  # fmt: skip
DT_STRING = 7


def is_bundle(index: Path) -> bool:
    """Return whether a file is the index of a TensorFlow checkpoint."""
    try:
        with open_regular(index) as file:
            if file.seek(0, 2) < FOOTER_BYTES:
                return False
            file.seek(-8, 2)
            return int.from_bytes(file.read(8), "little") == TABLE_MAGIC
    except (OSError, NotAnImage):
        return False


def bundle_prefix(path: Path) -> Path | None:
    """Return the common prefix of a TensorFlow checkpoint's files, given it or any of them; None for other files."""
    prefix = path.with_name(path.name.split(".data-")[0].removesuffix(".index").removesuffix(".meta"))
    other = path.exists() and prefix == path  # a file of its own, whatever lies beside it
    return prefix if not other and is_bundle(prefix.with_name(prefix.name + ".index")) else None


def read_bundle_records(prefix: Path, limits: Limits | None = None) -> dict[str, TensorRecord]:
    """Return variable name → tensor over the mapped data files; texts among the variables are left out.

    Raises:
        UnreadableFile: a part is missing, cut off or has another checksum than when it was written.
        UnsafeCheckpoint: it lies about its sizes.
        UnknownCheckpoint: variables in slices or of element types that no network here has.
    """
    limits = limits or Limits()
    again = Remedy("download_again", "Download the files again")
    index = prefix.with_name(prefix.name + ".index")
    try:
        return _read(index, prefix, limits)
    except (IndexError, ValueError, OverflowError) as error:
        raise UnreadableFile(f"{index.name} is damaged ({error}). Download it again.", remedy=again) from None


def _read(index: Path, prefix: Path, limits: Limits) -> dict[str, TensorRecord]:
    if index.stat().st_size > MAX_INDEX_BYTES:
        raise UnsafeCheckpoint(f"{index.name} is refused: an index of {index.stat().st_size >> 20} MiB.")
    entries = dict(_table(index.read_bytes()))
    if b"" not in entries:
        raise ValueError("it has no header")
    header = dict(_fields(entries.pop(b"")))
    num_shards = _number(header.get(1, 0))
    if header.get(2, 0) != 0:
        raise UnknownCheckpoint(f"{index.name} was written on a big-endian machine.")
    if not 1 <= num_shards <= 1000:
        raise ValueError(f"it counts {num_shards} data files")
    shards: dict[int, memoryview] = {}
    found: dict[str, TensorRecord] = {}
    for key, value in entries.items():
        name = key.decode("utf-8")
        record = _record(name, value, prefix, num_shards, shards, limits)
        if record is not None:
            found[name] = record
    return found


def _record(
    name: str, entry: bytes, prefix: Path, num_shards: int, shards: dict[int, memoryview], limits: Limits
) -> TensorRecord | None:
    fields = list(_fields(entry))
    values = dict(fields)
    kind = _number(values.get(1, 0))
    if kind == DT_STRING:
        return None
    if any(number == 7 for number, _ in fields):
        raise UnknownCheckpoint(f"{prefix.name}: variable {name} is stored in slices, which no network here has.")
    if kind not in DTYPES:
        raise UnknownCheckpoint(f"{prefix.name}: variable {name} has TensorFlow's element type {kind}.")
    dtype = DTYPES[kind]
    shape = tuple(
        _number(dict(_fields(dim)).get(1, 0))
        for number, dim in _fields(_bytes(values.get(2, b"")))
        if number == 2 and isinstance(dim, bytes)
    )
    shard, offset, size = (_number(values.get(number, 0)) for number in (3, 4, 5))
    if len(shape) > 16 or any(extent >= 1 << 48 for extent in shape):
        raise UnsafeCheckpoint(f"{prefix.name} is refused: variable {name} declares the shape {list(shape)}.")
    if shard >= num_shards:
        raise ValueError(f"variable {name} is in data file {shard} of {num_shards}")
    if shard not in shards:
        shards[shard] = _map(prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{num_shards:05d}"), limits)
    data = shards[shard]
    strides = tuple(int(np.prod(shape[axis + 1 :], dtype=object)) for axis in range(len(shape)))
    record = TensorRecord(dtype, shape, strides, 0, Storage(dtype, size))
    if record.nbytes != size:
        raise UnsafeCheckpoint(
            f"{prefix.name} is refused: variable {name} {list(shape)} would take {record.nbytes} bytes, "
            f"but the index gives it {size}."
        )
    if offset + size > len(data):
        raise UnreadableFile(
            f"{prefix.name}: the data end at {len(data)}, but variable {name} lies at {offset}. Download it again.",
            remedy=Remedy("download_again", "Download the files again"),
        )
    record.storage.data = data[offset : offset + size]
    if 6 in values and unmask(_number(values[6])) != crc32c(record.storage.data):
        raise ValueError(f"variable {name} has another checksum than when it was written")
    return record


def _map(path: Path, limits: Limits) -> memoryview:
    try:
        if path.is_symlink():
            raise UnsafeCheckpoint(f"{path.name} is a link; give the real file.")
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise UnsafeCheckpoint(
                f"{path.name} has {size / 1e9:.1f} GB; the limit is {limits.file_bytes / 1e9:.1f} GB."
            )
        if size == 0:
            return memoryview(b"")
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise UnreadableFile(
            f"{path.name} is missing beside its index ({error.strerror}): a TensorFlow checkpoint is several files.",
            remedy=Remedy("download_again", "Download the files again"),
        ) from None


# ---- the table


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = data[-FOOTER_BYTES:]
    if len(data) < FOOTER_BYTES or int.from_bytes(footer[-8:], "little") != TABLE_MAGIC:
        raise ValueError("it does not end as an index does")
    _, at = _handle(footer, 0)  # the filter block, which is not used
    where, _ = _handle(footer, at)
    count = 0
    for _, block in _entries(_block(data, where)):
        for key, value in _entries(_block(data, _handle(block, 0)[0])):
            count += 1
            if count > MAX_VARIABLES:
                raise ValueError(f"it lists more than {MAX_VARIABLES} variables")
            yield key, value


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _block(data: bytes, where: tuple[int, int]) -> bytes:
    offset, size = where
    if offset + size + 5 > len(data):
        raise ValueError("a block lies outside the file")
    if data[offset + size] != 0:
        raise ValueError("a block is compressed, which TensorFlow does not do")
    checksum = int.from_bytes(data[offset + size + 1 : offset + size + 5], "little")
    if unmask(checksum) != crc32c(data[offset : offset + size + 1]):
        raise ValueError("a block has another checksum than when it was written")
    return data[offset : offset + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    num_restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * num_restarts
    if end < 0:
        raise ValueError("a block is shorter than its list of restarts")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + own + length > end or shared + own > 4096:
            raise ValueError("a key or value lies outside its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


# ---- protocol buffers


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number does not end")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (field number, value) of a message: whole numbers, or bytes for texts and messages."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            if at + size > len(data):
                raise ValueError("a message ends in the middle")
            yield number, int.from_bytes(data[at : at + size], "little")
            at += size
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a message ends in the middle")
            yield number, data[at : at + length]
            at += length
        else:
            raise ValueError(f"a message has a field of unknown type {wire}")


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("a field is not a number")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a field is not a message")
    return value


# ---- CRC-32C


def unmask(masked: int) -> int:
    """Undo the rotation and offset under which TensorFlow and LevelDB store a CRC."""
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


@cache
def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C (Castagnoli) of bytes.

    The bytes are cut into equal lanes whose CRCs advance together, one byte of every lane per step. A CRC is linear
    over GF(2), so that of two pieces follows from theirs and the linear map "go on over n zero bytes".
    """
    table = _crc_table()
    flat = np.frombuffer(data, dtype=np.uint8)
    length = max(1, int(len(flat) ** 0.5) // 4)
    num_lanes = len(flat) // length
    state = 0xFFFFFFFF
    if num_lanes > 1:
        lanes = np.ascontiguousarray(flat[: num_lanes * length].reshape(num_lanes, length).T)
        crcs = np.zeros(num_lanes, dtype=np.uint32)
        for column in lanes:
            crcs = table[(crcs ^ column) & 0xFF] ^ (crcs >> np.uint32(8))
        zeros = _zero_bytes(length)
        for crc in crcs.tolist():
            state = zeros[0][state & 0xFF] ^ zeros[1][state >> 8 & 0xFF] ^ zeros[2][state >> 16 & 0xFF] ^ zeros[3][
                state >> 24
            ] ^ crc  # fmt: skip
        flat = flat[num_lanes * length :]
    small = table.tolist()
    for byte in flat.tolist():
        state = small[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def _zero_bytes(count: int) -> list[list[int]]:
    """Return the map of a CRC state over `count` zero bytes, as one table of 256 for each byte of the state."""
    table = _crc_table()
    states = np.stack([np.arange(256, dtype=np.uint32) << np.uint32(8 * byte) for byte in range(4)])
    for _ in range(count):
        states = table[states & 0xFF] ^ (states >> np.uint32(8))
    return [[int(value) for value in row] for row in states]
