"""Latent codes that a .blend file carries itself, because the backend found them and no seed gives them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np

from ..link.client import Client
from ..link.jobs import Job
from ..link.session import session
from ..scene.gather import Subject
from ..wire import payload
from ..wire.messages import CodeBlob, Latent, MeshRequest


def code_of(chosen: Subject) -> str:
    """Return the subject's stored code, packed, in base64; empty where seed A counts."""
    return str(chosen.settings.latent.code_data) if chosen.settings.latent.code else ""


def upload_code(client: Client, code: str) -> None:
    """Send a stored code to the backend, if there is one and the backend lacks it."""
    if code:
        client.upload(payload.unpack(base64.b64decode(code)))


def latent_of_code(client: Client, ws: np.ndarray) -> dict[str, Any]:
    """Send a code that was found to the backend, and return it as properties of a LatheLatent.

    The code alone is the shape, so both mixes are 0: seed B has no part in it.
    """
    stored = CodeBlob(np.ascontiguousarray(ws))
    data = base64.b64encode(payload.pack(stored)).decode()
    return {"code": client.upload(stored), "code_data": data, "mix_geometry": 0.0, "mix_appearance": 0.0}


def ask_with_code(job: Job, request: Any, code: str, *, supersede: str = "", end: float = 1.0) -> Any:
    """Run a request whose latent may be a stored code, which is sent first. Returns the result."""

    def run(client: Client) -> Any:
        upload_code(client, code)
        return job.ask(client, request, supersede=supersede, end=end)

    return session.using(job, run)


def with_code(client: Client, mesh: MeshRequest, ws: np.ndarray, found: dict[str, Any]) -> MeshRequest:
    """Return a request for the mesh of a code that was found. `found` gets the latent's properties for the object."""
    found.update(latent_of_code(client, ws))
    return replace(mesh, scene=replace(mesh.scene, latent=Latent(code=found["code"])))
