"""HTTP application: a thin layer over the queue, the blobs and the models. Routes are in `addon/wire/routes.py`.

Access: programs on this machine that hold the token. A web page cannot: its Host is not loopback after DNS
rebinding, its requests carry an Origin, and it has no token. All three are checked before anything is read.

Bodies are parsed by `wire.payload` alone; FastAPI does routing and the OpenAPI document, whose schemas come
from the same dataclasses.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from addon.wire import messages, payload, routes
from addon.wire.errors import (
    BlobMissing,
    InternalError,
    InvalidRequest,
    LatheError,
    MalformedPayload,
    ProtocolMismatch,
    Remedy,
    RequestError,
    TooLarge,
    Unauthorized,
    error_to_dict,
)

from ..blobs import BlobStore
from .queue import JobQueue, Parts

log = logging.getLogger(__name__)

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
SUPERSEDE_PATTERN = r"^[A-Za-z0-9_.-]{1,100}$"
JOB_PATTERN = r"^[0-9a-f]{32}$"
BLOB_PATTERN = r"^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Service:
    """Dependencies of the routes."""

    token: str
    jobs: JobQueue
    blobs: BlobStore
    server_info: Callable[[], messages.ServerInfo]
    models: Callable[[], messages.ModelList]
    stop: Callable[[], None]  # ends the process soon


class Waker:
    """Event that wakes all waiting coroutines, from any thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()
        self.closed = False

    def wake(self) -> None:
        """Wake all waiting coroutines. Does nothing before the first wait and after the loop ended."""
        if self._loop is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._set)
            except RuntimeError:  # the loop closed in between
                log.debug("the event loop has closed")

    def _set(self) -> None:
        for event in self._waiting:
            event.set()

    async def until(self, ready: Callable[[], Any], seconds: float) -> Any:
        """Return ready() as soon as it is true, or as it is after `seconds`."""
        self._loop = asyncio.get_running_loop()
        event, end = asyncio.Event(), self._loop.time() + seconds
        self._waiting.add(event)  # before ready() is called, so that no event is missed
        try:
            while not (found := ready()) and not self.closed:
                try:
                    async with asyncio.timeout_at(end):
                        await event.wait()
                except TimeoutError:
                    return ready()
                event.clear()
            return found
        finally:
            self._waiting.discard(event)


def json_response(message: Any, status: int = 200) -> Response:
    """Return a message as JSON."""
    return Response(payload.to_json(message), status, media_type=routes.JSON_TYPE)


def error_response(error: LatheError, status: int | None = None, headers: dict[str, str] | None = None) -> Response:
    """Return an error as JSON, by default with its own HTTP status."""
    body = json.dumps(error_to_dict(error)).encode()
    return Response(body, status or error.http_status, headers, media_type=routes.JSON_TYPE)


class PartsResponse(Response):
    """Response of several buffers, sent without joining them: a large image is not copied."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(media_type=routes.PACKED_TYPE)
        self._parts = parts
        self.headers["content-length"] = str(sum(len(part) for part in parts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Guard:
    """Middleware that refuses requests without the token, from web pages, or of another protocol version."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except LatheError as error:
                log.warning("refused %s %s: %s", scope["method"], scope["path"][:200], error)
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in (b"host", b"authorization"):
                raise Unauthorized(f"The header {name.decode()} came twice.")
            headers[name] = value
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name not in LOOPBACK_NAMES:
            raise Unauthorized("The backend answers to 127.0.0.1 and localhost only (Host header).")
        if b"origin" in headers:
            raise Unauthorized("The backend does not answer web pages (Origin header).")
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            raise Unauthorized(
                "The token is missing or wrong: this backend was started by another program.",
                remedy=Remedy("restart_backend", "Start the backend again"),
            )
        if scope["path"].startswith("/v1/"):
            check_protocol(headers.get(routes.PROTOCOL_HEADER.lower().encode(), b"").decode("latin-1"))


def check_protocol(value: str) -> None:
    """Check a request's protocol version. Raises ProtocolMismatch naming the older side, MalformedPayload."""
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise MalformedPayload(f"requests need the header {routes.PROTOCOL_HEADER}: {messages.PROTOCOL_VERSION}")
    if int(value) < messages.PROTOCOL_VERSION:
        raise ProtocolMismatch(
            f"The add-on is older than the backend (protocol {int(value)}, backend {messages.PROTOCOL_VERSION}): "
            "update the add-on.",
            remedy=Remedy("update_addon", "Update the add-on"),
        )
    if int(value) > messages.PROTOCOL_VERSION:
        raise ProtocolMismatch(
            f"The backend is older than the add-on (protocol {messages.PROTOCOL_VERSION}, add-on {int(value)}): "
            "update the backend with Set Up.",
            remedy=Remedy("update_backend", "Update the backend"),
        )


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body; stop as soon as it exceeds `limit` bytes. Raises TooLarge, MalformedPayload."""
    check_length(request, limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"A request may have at most {limit} bytes.")
    return bytes(body)


def check_length(request: Request, limit: int) -> None:
    """Refuse a body by its announced length, before reading it. Raises TooLarge."""
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise TooLarge(f"This may have at most {limit} bytes, got {announced}.")


Wait = Annotated[float, Query(ge=0, le=routes.MAX_WAIT_SECONDS, description="Seconds to wait for an answer")]
After = Annotated[int, Query(ge=0, le=2**62, description="Sequence number of the last event seen")]
JobId = Annotated[str, Path(pattern=JOB_PATTERN)]
OptionalJobId = Annotated[str | None, Query(pattern=JOB_PATTERN)]
Sha256 = Annotated[str, Path(pattern=BLOB_PATTERN)]
SupersedeKey = Annotated[str | None, Query(pattern=SUPERSEDE_PATTERN, description="Ends unfinished jobs of this key")]


def create_app(service: Service) -> FastAPI:
    """Return the ASGI application."""
    waker = Waker()
    service.jobs.listen(waker.wake)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        waker.closed = True
        waker.wake()

    app = FastAPI(
        title="Latent Lathe backend",
        version=str(messages.PROTOCOL_VERSION),
        openapi_url=routes.OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.waker = waker
    app.add_middleware(Guard, token=service.token)
    _handle_errors(app)

    @app.get(routes.HELLO, responses=_json(messages.ServerInfo))
    async def hello() -> Response:
        """Version, device and memory of the backend."""
        return json_response(await run_in_threadpool(service.server_info))

    @app.get(routes.MODELS, responses=_json(messages.ModelList))
    async def models() -> Response:
        """Available models, and damaged ones with their errors."""
        return json_response(await run_in_threadpool(service.models))

    for task, kind in messages.REQUESTS.items():
        _add_task(app, service, task, kind)

    @app.get(routes.JOBS, responses=_json(list[messages.JobStatus]))
    async def jobs() -> Response:
        """All jobs, newest first."""
        return json_response(service.jobs.all())

    @app.get(routes.JOBS + "/{job}", responses=_json(messages.JobStatus))
    async def job(job: JobId) -> Response:
        """Status of one job."""
        return json_response(service.jobs.status(job))

    @app.post(routes.JOBS + "/{job}" + routes.CANCEL, responses=_json(messages.JobStatus))
    async def cancel(job: JobId) -> Response:
        """Cancel a job; does nothing if it has ended."""
        return json_response(service.jobs.cancel(job))

    @app.get(
        routes.JOBS + "/{job}" + routes.RESULT,
        responses={
            200: {"description": "The packed result", "content": {routes.PACKED_TYPE: _BINARY}},
            202: {"description": "The job has not ended", "model": messages.JobStatus},
            **_ERRORS,
        },
    )
    async def result(job: JobId, wait: Wait = 0.0) -> Response:
        """Result of a job, or its error."""
        parts = await waker.until(lambda: service.jobs.result(job), wait)
        return json_response(service.jobs.status(job), 202) if parts is None else PartsResponse(parts)

    @app.get(routes.EVENTS, responses=_json(list[messages.JobEvent]))
    async def events(after: After = 0, wait: Wait = 0.0, job: OptionalJobId = None) -> Response:
        """Events after sequence number `after`, in order; waits for the first one."""
        return json_response(await waker.until(lambda: service.jobs.events_after(after, job), wait))

    @app.put(
        routes.BLOBS + "/{sha256}",
        responses={200: {"description": "Stored already"}, 201: {"description": "Stored"}, **_ERRORS},
        openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": _BINARY}}},
    )
    async def put_blob(sha256: Sha256, request: Request) -> Response:
        """Upload bytes under their sha256."""
        check_length(request, service.blobs.max_blob)
        if await run_in_threadpool(service.blobs.find_sound, sha256) is not None:
            return Response(status_code=200)
        with service.blobs.upload(sha256) as upload:
            async for chunk in request.stream():
                await run_in_threadpool(upload.write, chunk)
            await run_in_threadpool(upload.commit)
        return Response(status_code=201)

    @app.api_route(
        routes.BLOBS + "/{sha256}",
        methods=["GET"],
        responses={200: {"description": "The bytes", "content": {"application/octet-stream": _BINARY}}, **_ERRORS},
    )
    async def blob(sha256: Sha256) -> Response:
        """Bytes of an upload or a preview."""
        return _blob_file(service, sha256)

    @app.head(routes.BLOBS + "/{sha256}", responses={200: {"description": "It is stored"}, **_ERRORS})
    async def has_blob(sha256: Sha256) -> Response:
        """Check that an upload is stored, and sound."""
        await run_in_threadpool(service.blobs.find_sound, sha256)
        return _blob_file(service, sha256)

    @app.post(routes.SHUTDOWN, status_code=204, responses={204: {"description": "The process ends"}, **_ERRORS})
    async def shutdown() -> Response:
        """Cancel all work and end the process."""
        service.stop()
        return Response(status_code=204)

    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _blob_file(service: Service, sha256: str) -> Response:
    path = service.blobs.find(sha256)
    if path is None:
        raise BlobMissing(f"The upload {sha256[:12]}… is not here (any more). Send it again.")
    return FileResponse(path, media_type="application/octet-stream")


def _add_task(app: FastAPI, service: Service, task: str, kind: type) -> None:
    """Add POST TASKS/<task>, whose body is a `kind`."""

    async def submit(request: Request, supersede: SupersedeKey = None) -> Response:
        body = await read_body(request, routes.MAX_JSON_BYTES)
        return json_response(
            messages.Submitted(service.jobs.submit(task, payload.from_json(kind, body), supersede=supersede))
        )

    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    app.post(
        f"{routes.TASKS}/{task}",
        name=f"submit_{task}",
        summary=(kind.__doc__ or "").partition("\n")[0],
        responses=_json(messages.Submitted),
        openapi_extra={"requestBody": {"required": True, "content": {routes.JSON_TYPE: {"schema": schema}}}},
    )(submit)


# ------------------------------------------------------------------------------------------------------------ errors


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(LatheError)
    async def lathe_error(request: Request, error: LatheError) -> Response:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return error_response(InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers) if error.headers else None
        return error_response(RequestError(f"{request.method} {request.url.path[:200]}: {error.detail}"),
                              error.status_code, headers)  # fmt: skip

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> Response:
        return error_response(
            InternalError(f"Something went wrong in the backend ({type(error).__name__}). The log has the details.")
        )


# ----------------------------------------------------------------------------------------------------------- OpenAPI

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "The error, with its own status",
        "content": {routes.JSON_TYPE: {"schema": {"$ref": "#/components/schemas/ErrorInfo"}}},
    }
}


def _json(model: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"model": model, "description": "OK"}, **_ERRORS}


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return FastAPI's document with the request dataclasses and the security scheme added."""
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        kinds = (*messages.REQUESTS.values(), messages.ErrorInfo)
        _, schemas = TypeAdapter.json_schemas(
            [(kind.__name__, "validation", TypeAdapter(kind)) for kind in kinds],
            ref_template="#/components/schemas/{model}",
        )
        components = document.setdefault("components", {})
        components["schemas"] = {**components.get("schemas", {}), **schemas["$defs"]}
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        app.openapi_schema = document
    return app.openapi_schema
