"""The HTTP client: every question of `wire.routes`, and nothing of Blender.

One `Client` may be used by several threads. Connections are kept alive and lent to one request at a time. Whatever goes
wrong becomes an error of `wire.errors`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np

from ..wire import errors, payload, routes
from ..wire.messages import (
    PROTOCOL_VERSION,
    REQUESTS,
    TERMINAL_KINDS,
    ErrorInfo,
    JobEvent,
    JobStatus,
    ModelList,
    ServerInfo,
    Submitted,
)

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 10.0
IDLE_SECONDS = 2.0  # a server may close a connection that is idle for longer, so it is not used again
EVENT_WAIT_SECONDS = 10.0
FILE_CHUNK_BYTES = 1 << 20
LEAST_BYTES_PER_SECOND = 5e6  # of a file on its way
QUICK_SECONDS = 0.2  # a frame of a moving view is there by then; anything longer wants its progress shown


class FileBody:
    """The bytes of a file as they were when it was looked at, read anew each time they are gone through."""

    def __init__(self, path: Path, check: Callable[[], None]) -> None:
        """Look at the file. Raises UnreadableFile, TooLarge."""
        self.path, self._check = path, check
        try:
            self.size = path.stat().st_size
        except OSError as error:
            raise self._unreadable(error) from error
        if self.size > routes.MAX_BLOB_BYTES:
            raise errors.TooLarge(
                f"{path.name} has {self.size / 2**30:.1f} GB; the most is {routes.MAX_BLOB_BYTES / 2**30:g} GB"
            )

    def __iter__(self) -> Iterator[bytes]:
        left = self.size
        try:
            with open(self.path, "rb") as file:
                while left and (chunk := file.read(min(left, FILE_CHUNK_BYTES))):
                    self._check()
                    left -= len(chunk)
                    yield chunk
        except OSError as error:
            raise self._unreadable(error) from error
        if left:
            raise errors.UnreadableFile(f"{self.path} changed while it was read: try again when it is whole")

    def _unreadable(self, error: OSError) -> errors.UnreadableFile:
        return errors.UnreadableFile(f"{self.path} cannot be read: {error.strerror or error}")


Body = bytes | Sequence[bytes | memoryview] | FileBody | None

TASK_OF = {kind: name for name, kind in REQUESTS.items()}


class Client:
    """Talks to one backend. Every method may raise BackendUnavailable, Unauthorized and ProtocolMismatch."""

    def __init__(self, port: int, token: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.port = port
        self._token = token
        self._timeout = timeout
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()

    def hello(self, timeout: float | None = None) -> ServerInfo:
        """Return what the backend is and uses. Checks the protocol before anything else."""
        body = self._call("GET", routes.HELLO, timeout=timeout)
        check_protocol(_json(body))
        return payload.from_json(ServerInfo, bytes(body))

    def models(self, timeout: float | None = None) -> ModelList:
        """Return every model the backend has, and the folders that should be one and cannot be read."""
        return payload.from_json(ModelList, bytes(self._call("GET", routes.MODELS, timeout=timeout)))

    def submit(self, request: Any, *, supersede: str = "") -> str:
        """Queue a request and return its job id. With `supersede`, the unfinished job of the same key ends."""
        path = f"{routes.TASKS}/{TASK_OF[type(request)]}"
        if supersede:
            path += f"?{routes.SUPERSEDE_PARAMETER}={urllib.parse.quote(supersede)}"
        return payload.from_json(Submitted, bytes(self._call("POST", path, payload.to_json(request)))).job

    def events(self, after: int = 0, wait: float = 0.0, job: str = "") -> list[JobEvent]:
        """Return events later than sequence number `after`, waiting up to `wait` seconds for the first."""
        query = f"?{routes.AFTER_PARAMETER}={after}&{routes.WAIT_PARAMETER}={wait:g}"
        if job:
            query += f"&{routes.JOB_PARAMETER}={urllib.parse.quote(job)}"
        body = self._call("GET", routes.EVENTS + query, timeout=wait + self._timeout)
        return payload.from_json(list[JobEvent], bytes(body))

    def jobs(self) -> list[JobStatus]:
        """Return the jobs the backend remembers."""
        return payload.from_json(list[JobStatus], bytes(self._call("GET", routes.JOBS)))

    def job(self, job: str) -> JobStatus:
        """Return one job as it stands. Raises UnknownJob."""
        return payload.from_json(JobStatus, bytes(self._call("GET", f"{routes.JOBS}/{job}")))

    def cancel(self, job: str) -> None:
        """Ask a job to end. Harmless for one that has ended. Raises UnknownJob."""
        self._call("POST", f"{routes.JOBS}/{job}{routes.CANCEL}", b"")

    def result(self, job: str) -> Any:
        """Return the result of a job that is done; its arrays lie in the one buffer that was received."""
        return payload.unpack(self._call("GET", f"{routes.JOBS}/{job}{routes.RESULT}"))

    def wait(self, job: str, on_event: Callable[[JobEvent], None] | None = None) -> Any:
        """Wait for a job and return its result, or raise its error (Cancelled among them).

        A quick job costs one request; only one that takes longer than QUICK_SECONDS is followed event by event.
        """
        query = f"{routes.WAIT_PARAMETER}={QUICK_SECONDS}"
        status, data = self._answer("GET", f"{routes.JOBS}/{job}{routes.RESULT}?{query}")
        if status == HTTPStatus.OK:
            return payload.unpack(data)
        return self.finish(self.follow(job, on_event))

    def upload(self, message: Any) -> str:
        """Store a ScanBlob or MeshBlob and return its sha256. What is there already is not sent again."""
        parts = payload.pack_parts(message)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        name = digest.hexdigest()
        try:
            self._call("HEAD", f"{routes.BLOBS}/{name}")
        except errors.BlobMissing:
            self._call("PUT", f"{routes.BLOBS}/{name}", parts, kind=routes.PACKED_TYPE, timeout=6 * self._timeout)
        return name

    def upload_file(self, path: Path, check: Callable[[], None] = lambda: None) -> str:
        """Store a file's bytes and return their sha256. What is there already is not sent again.

        check: called now and then while the file is read; what it raises ends the upload.

        Raises:
            UnreadableFile, TooLarge.
        """
        body = FileBody(path, check)
        digest = hashlib.sha256()
        for chunk in body:
            digest.update(chunk)
        name = digest.hexdigest()
        try:
            self._call("HEAD", f"{routes.BLOBS}/{name}")
        except errors.BlobMissing:
            patience = 6 * self._timeout + body.size / LEAST_BYTES_PER_SECOND
            self._call("PUT", f"{routes.BLOBS}/{name}", body, kind=routes.PACKED_TYPE, timeout=patience)
        return name

    def blob(self, sha256: str) -> Any:
        """Return a stored blob as the message it is. Raises BlobMissing."""
        return payload.unpack(self.blob_bytes(sha256))

    def blob_bytes(self, sha256: str) -> memoryview:
        """Return the bytes of a stored blob. Raises BlobMissing."""
        return self._call("GET", f"{routes.BLOBS}/{sha256}")

    def shutdown(self) -> None:
        """Ask the backend to end."""
        self._call("POST", routes.SHUTDOWN, b"", timeout=2.0)

    def follow(self, job: str, on_event: Callable[[JobEvent], None] | None = None) -> JobEvent:
        """Wait for a job's end and return its terminal event; `on_event` sees every event before that."""
        last = 0
        while True:
            for event in self.events(last, EVENT_WAIT_SECONDS, job):
                last = event.sequence
                if event.kind in TERMINAL_KINDS:
                    return event
                if on_event:
                    on_event(event)

    def finish(self, event: JobEvent) -> Any:
        """Return the result that a terminal event stands for, or raise its error (Cancelled among them)."""
        if event.kind == "done":
            return self.result(event.job)
        if event.kind == "failed":
            raise error_from_info(event.error)
        raise errors.Cancelled("A newer request took its place" if event.kind == "superseded" else "Cancelled")

    def run(self, request: Any, *, supersede: str = "", on_event: Callable[[JobEvent], None] | None = None) -> Any:
        """Submit, wait and return the result, for callers that may block."""
        return self.wait(self.submit(request, supersede=supersede), on_event)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    # ----------------------------------------------------------------------------------------------------------- HTTP

    def _call(self, method: str, path: str, body: Body = None, **options: Any) -> memoryview:
        return self._answer(method, path, body, **options)[1]

    def _answer(
        self,
        method: str,
        path: str,
        body: Body = None,
        *,
        kind: str = routes.JSON_TYPE,
        timeout: float | None = None,
    ) -> tuple[int, memoryview]:
        headers = {"Authorization": f"Bearer {self._token}", routes.PROTOCOL_HEADER: str(PROTOCOL_VERSION)}
        if body is not None:
            headers["Content-Type"] = kind
            parts = [body] if isinstance(body, bytes) else body
            size = parts.size if isinstance(parts, FileBody) else sum(len(part) for part in parts)
            headers["Content-Length"] = str(size)
        connection, kept = self._borrow()
        while True:
            try:
                status, data = self._exchange(connection, method, path, body, headers, timeout or self._timeout)
                break
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept and not isinstance(error, TimeoutError):
                    # The server closed a kept connection before it saw this request: once more on a fresh one.
                    connection, kept = self._fresh(), False
                    continue
                raise _unavailable(error) from error
            except BaseException:
                connection.close()
                raise
        if connection.sock is not None:
            with self._lock:
                self._idle.append((time.monotonic(), connection))
        if status >= 400:
            raise _error(status, method, data)
        return status, data

    def _borrow(self) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            while self._idle:
                since, connection = self._idle.pop()
                if time.monotonic() - since < IDLE_SECONDS:
                    return connection, True
                connection.close()
        return self._fresh(), False

    def _fresh(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(HOST, self.port, timeout=self._timeout)

    @staticmethod
    def _exchange(
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Body,
        headers: dict[str, str],
        timeout: float,
    ) -> tuple[int, memoryview]:
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, _read(response)


def _read(response: http.client.HTTPResponse) -> memoryview:
    """Return the whole body. Of a known length, it goes straight into one buffer that is never copied."""
    if response.length is None:
        return memoryview(response.read())
    buffer = np.empty(response.length, np.uint8).data
    filled = 0
    while filled < len(buffer):
        count = response.readinto(buffer[filled:])
        if not count:
            raise http.client.IncompleteRead(b"", len(buffer) - filled)
        filled += count
    response.read()  # marks the response as finished, so that the connection can be used again
    return buffer


def check_protocol(answer: Any) -> None:
    """Raise ProtocolMismatch, saying which side to update, unless the backend's protocol is ours.

    Looks at one field alone, because the rest of another version's answer may have another form.
    """
    theirs = answer.get("protocol") if isinstance(answer, dict) else None
    if not isinstance(theirs, int):
        raise errors.BackendUnavailable(
            "What answers is not a Latent Lathe backend", remedy=errors.Remedy("restart_backend", "Restart Backend")
        )
    if theirs < PROTOCOL_VERSION:
        raise errors.ProtocolMismatch(
            f"The backend is older than the add-on (protocol {theirs}, not {PROTOCOL_VERSION}): restart it, and if "
            "that does not help, press Set Up",
            remedy=errors.Remedy("restart_backend", "Restart Backend"),
        )
    if theirs > PROTOCOL_VERSION:
        raise errors.ProtocolMismatch(
            f"The add-on is older than the backend (protocol {PROTOCOL_VERSION}, not {theirs}): update the extension",
            remedy=errors.Remedy("update_addon", "Update the Extension"),
        )


def error_from_info(info: ErrorInfo | None) -> errors.LatheError:
    """Rebuild the error that a job event carries."""
    if info is None:
        return errors.LatheError("The backend reported a failure without a reason; its log may tell more")
    remedy = None if info.remedy is None else dataclasses.asdict(info.remedy)
    return errors.error_from_dict({"code": info.code, "message": info.message, "remedy": remedy})


def _json(data: memoryview) -> Any:
    try:
        return json.loads(bytes(data))
    except ValueError:
        return None


def _error(status: int, method: str, data: memoryview) -> errors.LatheError:
    answer = _json(data)
    if isinstance(answer, dict) and "code" in answer:
        return errors.error_from_dict(answer)
    if method == "HEAD" and status == 404:
        return errors.BlobMissing("The upload is not there yet")
    for kind in errors.ERRORS.values():
        if "http_status" in vars(kind) and kind.http_status == status != 500:
            return kind(f"The backend refused the request (HTTP {status})")
    return errors.BackendUnavailable(f"What answers is not a Latent Lathe backend (HTTP {status})")


def _unavailable(error: Exception) -> errors.BackendUnavailable:
    restart = errors.Remedy("restart_backend", "Restart Backend")
    if isinstance(error, (TimeoutError, socket.timeout)):
        return errors.BackendUnavailable("The backend does not answer", remedy=restart)
    return errors.BackendUnavailable(
        f"The connection to the backend broke ({error or type(error).__name__})", remedy=restart
    )
