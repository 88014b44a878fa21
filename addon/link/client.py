"""HTTP client of the backend, with a method for each route of `wire.routes`. Does not import bpy.

One `Client` may be used by several threads. Connections are kept alive and used by one request at a time. All failures
are errors of `wire.errors`.
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
IDLE_SECONDS = 2.0  # a server may close a connection that is idle for longer, so such a connection is not reused
EVENT_WAIT_SECONDS = 10.0
FILE_CHUNK_BYTES = 1 << 20
LEAST_BYTES_PER_SECOND = 5e6  # of an upload, for its timeout
QUICK_SECONDS = 0.2  # enough for a frame of a moving view; longer jobs are followed event by event


class FileBody:
    """Request body of a file with a fixed size, read anew for each iteration."""

    def __init__(self, path: Path, check: Callable[[], None]) -> None:
        """Determine the size. Raises UnreadableFile, TooLarge."""
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
    """Client of one backend. Every method may raise BackendUnavailable, Unauthorized and ProtocolMismatch."""

    def __init__(self, port: int, token: str, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self.port = port
        self._token = token
        self._timeout = timeout
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()

    def hello(self, timeout: float | None = None) -> ServerInfo:
        """Return the backend's version, device and memory. Checks the protocol first."""
        body = self._call("GET", routes.HELLO, timeout=timeout)
        check_protocol(_json(body))
        return payload.from_json(ServerInfo, bytes(body))

    def models(self, timeout: float | None = None) -> ModelList:
        """Return all models of the backend, and the model folders that cannot be read."""
        return payload.from_json(ModelList, bytes(self._call("GET", routes.MODELS, timeout=timeout)))

    def submit(self, request: Any, *, supersede: str = "") -> str:
        """Queue a request and return its job id. An unfinished job with the same `supersede` key is cancelled."""
        path = f"{routes.TASKS}/{TASK_OF[type(request)]}"
        if supersede:
            path += f"?{routes.SUPERSEDE_PARAMETER}={urllib.parse.quote(supersede)}"
        return payload.from_json(Submitted, bytes(self._call("POST", path, payload.to_json(request)))).job

    def events(self, after: int = 0, wait: float = 0.0, job: str = "") -> list[JobEvent]:
        """Return the events after sequence number `after`, waiting up to `wait` seconds for the first."""
        query = f"?{routes.AFTER_PARAMETER}={after}&{routes.WAIT_PARAMETER}={wait:g}"
        if job:
            query += f"&{routes.JOB_PARAMETER}={urllib.parse.quote(job)}"
        body = self._call("GET", routes.EVENTS + query, timeout=wait + self._timeout)
        return payload.from_json(list[JobEvent], bytes(body))

    def jobs(self) -> list[JobStatus]:
        """Return the backend's recent jobs."""
        return payload.from_json(list[JobStatus], bytes(self._call("GET", routes.JOBS)))

    def job(self, job: str) -> JobStatus:
        """Return the status of one job. Raises UnknownJob."""
        return payload.from_json(JobStatus, bytes(self._call("GET", f"{routes.JOBS}/{job}")))

    def cancel(self, job: str) -> None:
        """Cancel a job; no effect on one that has ended. Raises UnknownJob."""
        self._call("POST", f"{routes.JOBS}/{job}{routes.CANCEL}", b"")

    def result(self, job: str) -> Any:
        """Return the result of a finished job. Its arrays are views of the received buffer."""
        return payload.unpack(self._call("GET", f"{routes.JOBS}/{job}{routes.RESULT}"))

    def wait(self, job: str, on_event: Callable[[JobEvent], None] | None = None) -> Any:
        """Wait for a job and return its result, or raise its error (including Cancelled).

        A quick job costs one request; only one that takes longer than QUICK_SECONDS is followed event by event.
        """
        query = f"{routes.WAIT_PARAMETER}={QUICK_SECONDS}"
        status, data = self._answer("GET", f"{routes.JOBS}/{job}{routes.RESULT}?{query}")
        if status == HTTPStatus.OK:
            return payload.unpack(data)
        return self.finish(self.follow(job, on_event))

    def upload(self, message: Any) -> str:
        """Upload a blob message and return its sha256. One that the backend has is not sent again."""
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
        """Upload the bytes of a file and return their sha256. One that the backend has is not sent again.

        check: called regularly while the file is read; an exception from it ends the upload.

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
        """Return a stored blob as a message. Raises BlobMissing."""
        return payload.unpack(self.blob_bytes(sha256))

    def blob_bytes(self, sha256: str) -> memoryview:
        """Return the bytes of a stored blob. Raises BlobMissing."""
        return self._call("GET", f"{routes.BLOBS}/{sha256}")

    def shutdown(self) -> None:
        """Ask the backend to shut down."""
        self._call("POST", routes.SHUTDOWN, b"", timeout=2.0)

    def follow(self, job: str, on_event: Callable[[JobEvent], None] | None = None) -> JobEvent:
        """Wait for the end of a job and return its terminal event. `on_event` is called with each event before it."""
        last = 0
        while True:
            for event in self.events(last, EVENT_WAIT_SECONDS, job):
                last = event.sequence
                if event.kind in TERMINAL_KINDS:
                    return event
                if on_event:
                    on_event(event)

    def finish(self, event: JobEvent) -> Any:
        """Return the result for a terminal event, or raise its error (including Cancelled)."""
        if event.kind == "done":
            return self.result(event.job)
        if event.kind == "failed":
            raise error_from_info(event.error)
        raise errors.Cancelled("Superseded by a newer request" if event.kind == "superseded" else "Cancelled")

    def run(self, request: Any, *, supersede: str = "", on_event: Callable[[JobEvent], None] | None = None) -> Any:
        """Submit a request, wait, and return the result."""
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
                    # The server closed a kept connection before it read this request: retry on a new one.
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
    """Return the whole body. One of known length is read into a single buffer without copying."""
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
    """Raise ProtocolMismatch, naming the side to update, unless the backend's protocol version is ours.

    Reads a single field, because the rest of another version's answer may differ.
    """
    theirs = answer.get("protocol") if isinstance(answer, dict) else None
    if not isinstance(theirs, int):
        raise errors.BackendUnavailable(
            "The process that answered is not a Latent Lathe backend",
            remedy=errors.Remedy("restart_backend", "Restart Backend"),
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
    """Return the error of a job event."""
    if info is None:
        return errors.LatheError("The backend reported a failure without a reason; see its log")
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
    return errors.BackendUnavailable(f"The process that answered is not a Latent Lathe backend (HTTP {status})")


def _unavailable(error: Exception) -> errors.BackendUnavailable:
    restart = errors.Remedy("restart_backend", "Restart Backend")
    if isinstance(error, (TimeoutError, socket.timeout)):
        return errors.BackendUnavailable("The backend does not answer", remedy=restart)
    return errors.BackendUnavailable(
        f"The connection to the backend broke ({error or type(error).__name__})", remedy=restart
    )
