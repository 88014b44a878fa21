"""TensorFlow checkpoints are read without TensorFlow, and only when their checksums and sizes hold."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from addon.wire.errors import LatheError, UnknownCheckpoint, UnreadableFile, UnsafeCheckpoint
from backend.checkpoints.isolated import read_checkpoint_isolated
from backend.checkpoints.tensorflow import TABLE_MAGIC, crc32c, is_bundle, read_bundle_records, unmask
from tests.shared import CHECKPOINTS, ORACLES

OFFICIAL = CHECKPOINTS / "hologan_ckpt/celebA_64_64/HoloGAN.model-1000"


@pytest.mark.parametrize("suffix", ["", ".index", ".meta", ".data-00000-of-00001"])
def test_every_variable_is_the_one_of_the_set(suffix: str) -> None:
    weights = load_file(ORACLES / "hologan_tf1.safetensors")
    found = read_checkpoint_isolated(OFFICIAL.with_name(OFFICIAL.name + suffix))
    assert {f"weights/{name}" for name in found} == {name for name in weights if name.startswith("weights/")}
    # One power iteration of the spectral norm ran between the saved set and the file.
    differing = {name for name, value in found.items() if not torch.equal(value, weights[f"weights/{name}"])}
    assert differing == {f"discriminator/d_h{layer}_conv/u" for layer in (1, 2, 3)}
    assert json.loads((ORACLES / "hologan_tf1.json").read_text())["spectral_u"]


def test_crc32c_is_castagnoli() -> None:
    # RFC 3720, B.4
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0


@given(st.binary(max_size=3000))
@settings(max_examples=60, deadline=None)
def test_crc32c_by_lanes_is_crc32c_by_bits(data: bytes) -> None:
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    assert crc32c(data) == state ^ 0xFFFFFFFF


def mask(crc: int) -> int:
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@given(st.integers(0, 2**32 - 1))
def test_unmask_undoes_mask(crc: int) -> None:
    assert unmask(mask(crc)) == crc


# ---- bundles that lie


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    return b"".join(
        varint(number << 3 | 2) + varint(len(value)) + value
        if isinstance(value, bytes)
        else varint(number << 3) + varint(value)
        for number, value in fields
    )


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in entries)
    body += struct.pack("<II", 0, 1)
    return body + b"\0" + struct.pack("<I", mask(crc32c(body + b"\0")))


def write_bundle(prefix: Path, data: bytes, shape: tuple[int, ...], **changes: int) -> Path:
    """Write a bundle with one variable "w" whose entry says what `changes` say."""
    entry = {"dtype": 1, "shard": 0, "offset": 0, "size": len(data), **changes}
    dims = b"".join(message((2, message((1, extent)))) for extent in shape)
    checksum = varint(6 << 3 | 5) + struct.pack("<I", mask(crc32c(data)))
    value = message((1, entry["dtype"]), (2, dims), (3, entry["shard"]), (4, entry["offset"]), (5, entry["size"]))
    entries = [(b"", message((1, changes.get("shards", 1)), (2, changes.get("endian", 0)))), (b"w", value + checksum)]
    table = block(entries)
    index_block = block([(b"x", varint(0) + varint(len(table) - 5))])
    footer = varint(0) + varint(0) + varint(len(table)) + varint(len(index_block) - 5)
    index = table + index_block + footer.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)
    prefix.with_name(prefix.name + ".index").write_bytes(index)
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(data)
    return prefix


VALUES = np.arange(6, dtype=np.float32)


def test_a_small_bundle_is_read(tmp_path: Path) -> None:
    prefix = write_bundle(tmp_path / "model", VALUES.tobytes(), (2, 3))
    assert torch.equal(read_checkpoint_isolated(prefix)["w"], torch.from_numpy(VALUES).reshape(2, 3))


@pytest.mark.parametrize(
    ("shape", "changes", "error", "sentence"),
    [
        ((2_684_354_560,), {}, UnsafeCheckpoint, "would take 10737418240 bytes"),
        ((2, 3), {"size": 10 << 30}, UnsafeCheckpoint, "gives it 10737418240"),
        ((2_684_354_560,), {"size": 10 << 30}, UnreadableFile, "the data end at 24"),
        ((2**33, 2**33), {}, UnsafeCheckpoint, "would take"),
        ((2**62,) * 3, {}, UnsafeCheckpoint, "declares the shape"),
        ((1,) * 40, {}, UnsafeCheckpoint, "declares the shape"),
        ((2, 3), {"offset": 2**40}, UnreadableFile, "the data end at 24"),
        ((2, 3), {"offset": 4}, UnreadableFile, "the data end at 24"),
        ((2, 3), {"shard": 5}, UnreadableFile, "data file 5 of 1"),
        ((2, 3), {"shards": 10**6}, UnreadableFile, "counts 1000000 data files"),
        ((2, 3), {"dtype": 99}, UnknownCheckpoint, "element type 99"),
        ((2, 3), {"endian": 1}, UnknownCheckpoint, "big-endian"),
    ],
)
def test_a_bundle_that_lies_is_refused(
    tmp_path: Path, shape: tuple[int, ...], changes: dict[str, int], error: type[LatheError], sentence: str
) -> None:
    prefix = write_bundle(tmp_path / "model", VALUES.tobytes(), shape, **changes)
    with pytest.raises(error, match=sentence):
        read_bundle_records(prefix)


def copy_of_official(folder: Path) -> Path:
    for path in OFFICIAL.parent.iterdir():
        shutil.copyfile(path, folder / path.name)
    return folder / OFFICIAL.name


@pytest.mark.parametrize("part", [".index", ".data-00000-of-00001"])
def test_a_changed_byte_is_noticed(tmp_path: Path, part: str) -> None:
    prefix = copy_of_official(tmp_path)
    path = prefix.with_name(prefix.name + part)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match=r"damaged.*Download it again"):
        read_checkpoint_isolated(prefix)


@pytest.mark.parametrize("part", [".index", ".data-00000-of-00001"])
def test_a_cut_file_is_never_read(tmp_path: Path, part: str) -> None:
    prefix = copy_of_official(tmp_path)
    path = prefix.with_name(prefix.name + part)
    data = path.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises((UnreadableFile, UnknownCheckpoint)):
            read_checkpoint_isolated(path)


def test_missing_data_are_said_to_be_missing(tmp_path: Path) -> None:
    prefix = copy_of_official(tmp_path)
    prefix.with_name(prefix.name + ".data-00000-of-00001").unlink()
    with pytest.raises(UnreadableFile, match="missing beside its index"):
        read_checkpoint_isolated(prefix)


def test_data_behind_a_link_are_not_read(tmp_path: Path) -> None:
    prefix = copy_of_official(tmp_path)
    data = prefix.with_name(prefix.name + ".data-00000-of-00001")
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeCheckpoint, match="link"):
        read_bundle_records(prefix)


@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_changed_index_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int]]
) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    prefix = write_bundle(folder / "model", VALUES.tobytes(), (2, 3))
    path = prefix.with_name("model.index")
    data = bytearray(path.read_bytes())
    for where, value in changes:
        data[min(len(data) - 1, int(where * len(data)))] = value
    path.write_bytes(data)
    try:
        found = read_bundle_records(prefix)
    except LatheError:
        return
    assert all(len(record.to_bytes()) == record.nbytes for record in found.values())


def test_other_files_are_no_bundles(tmp_path: Path) -> None:
    assert is_bundle(OFFICIAL.with_name(OFFICIAL.name + ".index"))
    assert not is_bundle(OFFICIAL.with_name("checkpoint"))
    assert not is_bundle(CHECKPOINTS / "gan3d_G.pth")
    assert not is_bundle(tmp_path / "absent.index")
