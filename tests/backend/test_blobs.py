"""A damaged upload is as good as none: it can be sent again."""

from __future__ import annotations

from pathlib import Path

import pytest

from addon.wire.errors import BlobMissing
from backend.blobs import BlobStore


@pytest.mark.parametrize("damage", [b"", b"other bytes"])
@pytest.mark.parametrize("keep", [False, True])
def test_a_damaged_blob_is_missing_and_can_be_stored_again(tmp_path: Path, damage: bytes, keep: bool) -> None:
    blobs = BlobStore(tmp_path)
    name = blobs.put(b"good", keep=keep)
    for find in (lambda: blobs.read(name), lambda: blobs.find_sound(name)):
        path = blobs.find(name)
        assert path is not None and blobs.find_sound(name) == path and blobs.read(name) == b"good"
        path.write_bytes(damage)
        try:
            assert find() is None
        except BlobMissing as error:
            assert error.remedy is not None and error.remedy.action == "upload_again"
        assert blobs.find(name) is None
        assert blobs.put(b"good", keep=keep) == name
