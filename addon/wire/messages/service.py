"""The service itself: handshake, server information, errors as data."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Remedy


@dataclass(frozen=True)
class Handshake:
    """The only line that the backend prints on stdout, once its socket is open."""

    protocol: int
    version: str
    port: int
    token: str
    pid: int


@dataclass(frozen=True)
class ServerInfo:
    """Answer to HELLO."""

    protocol: int
    version: str
    pid: int
    device: str  # "cpu", "cuda:0", "mps"
    device_name: str
    torch_version: str
    memory_used: int  # bytes, of the process
    memory_total: int  # bytes, of the machine
    device_memory_used: int = 0
    device_memory_total: int = 0


@dataclass(frozen=True)
class ErrorInfo:
    """An error as data; `errors.error_to_dict` makes it and `errors.error_from_dict` rebuilds the exception."""

    code: str
    message: str
    remedy: Remedy | None = None
