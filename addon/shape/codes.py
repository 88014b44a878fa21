"""Stored codes of latents: arrays that the backend found, which a .blend file contains because no seed gives them."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np

from ..link.client import Client
from ..link.jobs import Job
from ..link.session import session
from ..scene.gather import MAX_LAYERS, Subject
from ..wire import payload
from ..wire.messages import CodeBlob, Latent, MeshRequest


def stored_codes(chosen: Subject) -> dict[str, str]:
    """Return the stored codes of the subject's latent, by sha256: packed, in base64."""
    latent = chosen.settings.latent
    found = {latent.code: latent.code_data, latent.code_b: latent.code_b_data}
    found |= {item.code: item.code_data for item in (*latent.rows, *latent.directions)}
    return {sha256: str(data) for sha256, data in found.items() if sha256 and data}


def upload_codes(client: Client, codes: dict[str, str]) -> None:
    """Send stored codes to the backend, those that it lacks."""
    for data in codes.values():
        client.upload(payload.unpack(base64.b64decode(data)))


def latent_of_code(client: Client, ws: np.ndarray) -> dict[str, Any]:
    """Send a code that was found to the backend, and return it as properties of a LatheLatent.

    The code alone is the shape: B, single rows and directions have no part in it.
    """
    stored = CodeBlob(np.ascontiguousarray(ws))
    data = base64.b64encode(payload.pack(stored)).decode()
    return {
        "code": client.upload(stored),
        "code_data": data,
        "mix_geometry": 0.0,
        "mix_appearance": 0.0,
        "style_layers": (False,) * MAX_LAYERS,
        "rows": [],
        "directions": [],
    }


def ask_with_codes(job: Job, request: Any, codes: dict[str, str], *, supersede: str = "", end: float = 1.0) -> Any:
    """Run a request whose latent may use stored codes, which are sent first. Returns the result."""

    def run(client: Client) -> Any:
        upload_codes(client, codes)
        return job.ask(client, request, supersede=supersede, end=end)

    return session.using(job, run)


def with_code(client: Client, mesh: MeshRequest, ws: np.ndarray, found: dict[str, Any]) -> MeshRequest:
    """Return a request for the mesh of a code that was found. `found` gets the latent's properties for the object."""
    found.update(latent_of_code(client, ws))
    return replace(mesh, scene=replace(mesh.scene, latent=Latent(code=found["code"])))
