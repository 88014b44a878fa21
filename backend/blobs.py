"""Content-addressed store of uploads, previews and stored latents, each named by its sha256.

A name can never be a path, the content of a file always matches its name, and writing the same bytes twice makes one
file. Uploads are cleaned up by age and total size, least recently used first; kept blobs (latents that a document
refers to) stay until the user removes the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from addon.wire import payload
from addon.wire.errors import BlobMissing, InvalidRequest, MalformedPayload, Remedy, TooLarge
from addon.wire.routes import MAX_BLOB_BYTES

from .files import cannot_write, replace_file

log = logging.getLogger(__name__)

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARTIAL_SUFFIX = ".part"
_STALE_PARTIAL_SECONDS = 3600.0


class Upload:
    """Upload in progress: bytes go to a partial file, which becomes a blob once `commit` has verified it."""

    def __init__(self, store: BlobStore, file: BinaryIO, partial: Path, expected: str | None) -> None:
        self._store, self._file, self._partial, self._expected = store, file, partial, expected
        self._hash, self._size = hashlib.sha256(), 0

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Raises TooLarge, CannotWrite."""
        self._size += len(data)
        if self._size > self._store.max_blob:
            raise TooLarge(f"An upload may have at most {self._store.max_blob} bytes")
        self._hash.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise cannot_write("The upload", self._store.folder, error) from error

    def commit(self) -> str:
        """Make the blob visible under its sha256 and return that. Raises MalformedPayload unless it was expected."""
        sha256 = self._hash.hexdigest()
        if self._expected is not None and sha256 != self._expected:
            raise MalformedPayload(f"the uploaded bytes have the sha256 {sha256}, not {self._expected}")
        target = self._store.path(sha256)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())  # before it gets its name: a power cut must not leave it empty
            self._file.close()
            target.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._partial, target)
        except OSError as error:
            raise cannot_write("The upload", self._store.folder, error) from error
        return sha256


class BlobStore:
    """A folder of blobs. Safe to use from several threads and processes."""

    def __init__(
        self,
        folder: Path,
        *,
        max_blob: int = MAX_BLOB_BYTES,
        max_total: int = 4 << 30,
        max_age: float = 7 * 24 * 3600.0,
    ) -> None:
        self.folder, self.max_blob, self.max_total, self.max_age = folder, max_blob, max_total, max_age
        self._clean_lock = threading.Lock()
        self._since_clean = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write("Uploads", folder, error) from error

    def path(self, sha256: str, *, kept: bool = False) -> Path:
        """Return the path of a blob, stored or not. Raises InvalidRequest for anything but a sha256."""
        if not _SHA256.fullmatch(sha256):
            raise InvalidRequest(f"a blob is named by its sha256 in 64 lower-case hex digits, got {sha256[:80]!r}")
        return self.folder / ("kept" if kept else sha256[:2]) / sha256

    def find(self, sha256: str) -> Path | None:
        """Return the file of a blob and mark it as used, or None."""
        for kept in (True, False):
            path = self.path(sha256, kept=kept)
            with contextlib.suppress(OSError):
                os.utime(path)
                return path
        return None

    def find_sound(self, sha256: str) -> Path | None:
        """Return the file of a blob whose bytes are those of its name, or None; a damaged one is removed."""
        path = self.find(sha256)
        if path is None:
            return None
        with contextlib.suppress(OSError):
            with path.open("rb") as file:
                sound = hashlib.file_digest(file, "sha256").hexdigest() == sha256
            if sound:
                return path
            path.unlink()
        return None

    def read(self, sha256: str) -> bytes:
        """Return a blob. Raises BlobMissing, also for a damaged one, which is removed so that it can be sent again."""
        path = self.find(sha256)
        with contextlib.suppress(FileNotFoundError):
            if path is not None:
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest() == sha256:
                    return data
                path.unlink(missing_ok=True)
        raise BlobMissing(
            f"The upload {sha256[:12]}… is not here (any more). Send it again.",
            remedy=Remedy("upload_again", "", sha256),
        )

    def read_message(self, sha256: str, kind: type) -> Any:
        """Return the packed message in a blob. Raises BlobMissing, MalformedPayload (also for another kind)."""
        message = payload.unpack(self.read(sha256))
        if not isinstance(message, kind):
            raise MalformedPayload(f"the upload is a {type(message).__name__}, wanted a {kind.__name__}")
        return message

    @contextlib.contextmanager
    def upload(self, expected: str | None = None) -> Iterator[Upload]:
        """Receive a blob piece by piece; an upload without commit is removed."""
        try:
            handle, name = tempfile.mkstemp(_PARTIAL_SUFFIX, dir=self.folder)
        except OSError as error:
            raise cannot_write("The upload", self.folder, error) from error
        file = os.fdopen(handle, "wb")
        try:
            yield Upload(self, file, Path(name), expected)
        finally:
            with contextlib.suppress(OSError):
                file.close()
            with contextlib.suppress(OSError):
                os.unlink(name)
            self._since_clean += 1
            if self._since_clean >= 64:
                threading.Thread(target=self.clean, name="clean blobs", daemon=True).start()

    def put(self, data: bytes | memoryview, *, keep: bool = False) -> str:
        """Store bytes and return their sha256. `keep` exempts them from cleaning. Raises TooLarge, CannotWrite."""
        with self.upload() as upload:
            upload.write(data)
            sha256 = upload.commit()
        if keep:
            target = self.path(sha256, kept=True)
            try:
                target.parent.mkdir(exist_ok=True)
                replace_file(self.path(sha256), target)
            except OSError as error:
                raise cannot_write("The result", self.folder, error) from error
        return sha256

    def clean(self) -> None:
        """Remove uploads older than `max_age` and, beyond `max_total` bytes, the least recently used ones."""
        if not self._clean_lock.acquire(blocking=False):
            return
        try:
            self._since_clean = 0
            now, found, total = time.time(), [], 0
            for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
                with contextlib.suppress(OSError):
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
                    total += status.st_size
            for used, size, path in sorted(found):
                if total <= self.max_total and now - used <= self.max_age:
                    break
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size
            for path in self.folder.glob(f"*{_PARTIAL_SUFFIX}"):
                with contextlib.suppress(OSError):
                    if now - path.stat().st_mtime > _STALE_PARTIAL_SECONDS:
                        path.unlink()
        finally:
            self._clean_lock.release()
