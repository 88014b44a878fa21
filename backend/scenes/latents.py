"""Points of a generator's latent space from the latents of requests."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from addon.wire.errors import InvalidRequest
from addon.wire.messages import Latent, ModelInfo

from ..cameras import from_wire, orbit
from .generator import Generator

StoredCodes = Callable[[str], Tensor]
"""Reads a stored code by its sha256: float32 [num_ws, w_dim], or [1, w_dim] for one row."""


def ws_from_latent(generator: Generator, latent: Latent, stored: StoredCodes | None = None) -> Tensor:
    """Return ws [num_ws, w_dim] of a latent.

    In this order:
    1. A and B are mapped from their seeds with truncation ψ, or are stored codes. Truncation applies to seeds alone: a
       stored code is a point in w+ as the network takes it, and is used unchanged.
    2. A and B are interpolated linearly in w, geometry rows and appearance rows apart.
    3. Style mixing: the rows of `style_mix` are those of B.
    4. The rows of `rows` are those of their stored codes.
    5. The directions are added, each times its strength, to its rows. Truncation does not scale them.

    stored: reads the codes that the latent names; a latent of seeds alone needs none.
    Raises InvalidRequest for a code or a row that does not fit the model.
    """
    info = generator.info
    codes = {sha256: _read(stored, sha256, info) for sha256 in latent.codes()}
    condition = None
    if info.pose_conditioned and latent.condition is not None:
        azimuth, elevation = latent.condition
        view = orbit(info, info.image_size, azimuth=azimuth, elevation=elevation)
        condition = from_wire(view, generator.device)

    def endpoint(seed: int, sha256: str) -> Tensor:
        if sha256:
            return whole_code(codes[sha256], info).to(generator.device)
        return generator.mapping(generator.sample_z(seed), condition, truncation_psi=latent.truncation_psi)[0]

    ws = endpoint(latent.seed_a, latent.code)
    if latent.mix_geometry or latent.mix_appearance or latent.style_mix:
        second = endpoint(latent.seed_b, latent.code_b)
        split = info.num_geometry_ws
        geometry = torch.lerp(ws[:split], second[:split], latent.mix_geometry)
        appearance = torch.lerp(ws[split:], second[split:], latent.mix_appearance)
        ws = torch.cat((geometry, appearance))
        if latent.style_mix:
            check_rows("style_mix", latent.style_mix, info)
            ws[list(latent.style_mix)] = second[list(latent.style_mix)]
    if latent.rows or latent.directions:
        ws = ws.clone()
    for item in latent.rows:
        check_rows("rows", (item.row,), info)
        ws[item.row] = codes[item.code].to(ws).expand_as(ws)[item.row]
    for direction in latent.directions:
        check_rows("a direction", direction.rows, info)
        rows = list(direction.rows) or slice(None)
        ws[rows] += direction.strength * codes[direction.code].to(ws).expand_as(ws)[rows]
    return ws


def whole_code(code: Tensor, info: ModelInfo) -> Tensor:
    """Return a code that has every row of the model's ws. Raises InvalidRequest for one that has not."""
    if code.shape != (info.num_ws, info.w_dim):
        raise InvalidRequest(
            f"The stored latent has the shape {list(code.shape)}; {info.name} takes {[info.num_ws, info.w_dim]}. "
            "It belongs to another model."
        )
    return code


def check_rows(what: str, rows: tuple[int, ...], info: ModelInfo) -> None:
    """Raise InvalidRequest for a row that the model's ws does not have."""
    if rows and max(rows) >= info.num_ws:
        raise InvalidRequest(f"{what} names row {max(rows)}; this model has {info.num_ws} rows")


def _read(stored: StoredCodes | None, sha256: str, info: ModelInfo) -> Tensor:
    if stored is None:
        raise InvalidRequest("This latent names stored codes, and none are kept here.")
    code = stored(sha256)
    if code.ndim == 2 and code.shape == (1, info.w_dim):
        return code
    return whole_code(code, info)
