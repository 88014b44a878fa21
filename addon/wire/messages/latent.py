"""Latents: seeds, stored codes, mixes and directions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..checks import MAX_SEED, check_range, check_sha256
from ..errors import InvalidRequest
from ..options import check_options, option

MAX_ROWS = 512  # rows of ws of any model
MAX_DIRECTIONS = 64
MAX_STRENGTH = 1e4


@dataclass(frozen=True)
class StoredRow:
    """A row of ws that is taken from a stored code."""

    row: int
    code: str  # sha256 of a packed CodeBlob: of [num_ws, w_dim] the same row is taken, of [1, w_dim] its only one

    def __post_init__(self) -> None:
        check_range("rows", self.row, 0, MAX_ROWS - 1)
        check_sha256("the code of a row", self.code)


@dataclass(frozen=True)
class Direction:
    """A step through latent space: strength · direction is added to rows of ws."""

    code: str  # sha256 of a packed CodeBlob with the direction: [num_ws, w_dim], or [1, w_dim] for all rows alike
    strength: float = 1.0
    rows: tuple[int, ...] = ()  # rows that move; empty = all

    def __post_init__(self) -> None:
        check_sha256("the code of a direction", self.code)
        check_range("the strength of a direction", self.strength, -MAX_STRENGTH, MAX_STRENGTH)
        for row in self.rows:
            check_range("the rows of a direction", row, 0, MAX_ROWS - 1)


@dataclass(frozen=True)
class Latent:
    """A point of a model's latent space: two seeds or stored codes, how they mix, and what is added.

    In this order (`backend/scenes/latents.py`):
    1. A and B are each mapped from their seed with truncation ψ, or are a stored code. Truncation applies to seeds
       alone: a stored code is used unchanged.
    2. mix_geometry and mix_appearance interpolate linearly in w from A (0) to B (1); a model without separate
       appearance uses mix_geometry for all rows of ws.
    3. The rows of style_mix are those of B.
    4. rows replaces single rows by those of stored codes.
    5. directions are added, each times its strength.
    """

    seed_a: int = field(
        default=0,
        metadata=option(
            "Seed A",
            "Random seed of the latent. With both mixes at 0, each number is another shape of the model",
            minimum=0,
            maximum=MAX_SEED,
        ),
    )
    seed_b: int = field(
        default=0,
        metadata=option("Seed B", "Random seed of a second latent, for mixing", minimum=0, maximum=MAX_SEED),
    )
    mix_geometry: float = field(
        default=0.0,
        metadata=option(
            "Mix Geometry",
            "Interpolation of the geometry from the first latent (0) to the second (1)",
            unit="factor",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    mix_appearance: float = field(
        default=0.0,
        metadata=option(
            "Mix Appearance",
            "Interpolation of the colours from the first latent (0) to the second (1), for models that separate them",
            unit="factor",
            minimum=0.0,
            maximum=1.0,
        ),
    )
    truncation_psi: float = field(
        default=1.0,
        metadata=option(
            "Truncation",
            "Truncation ψ: lower values stay closer to the average shape, with fewer artefacts and less variety; "
            "1 is the full range",
            unit="factor",
            minimum=0.0,
            maximum=2.0,
            soft_maximum=1.0,
        ),
    )
    code: str = field(  # sha256 of a packed CodeBlob, kept by `complete` and others, or uploaded
        default="",
        metadata=option(
            "Code", "Stored latent in place of seed A, such as the code of a completed scan or of an image"
        ),
    )
    style_mix: tuple[int, ...] = ()  # rows of ws that are taken from B entirely (style mixing per layer)
    condition: tuple[float, float] | None = None  # (azimuth, elevation), radians, of the camera that conditions a
    # pose-conditioned model (ModelInfo.pose_conditioned); None = its front. Independent of the rendered view.
    code_b: str = field(default="", metadata=option("Code B", "Stored latent in place of seed B, to mix with"))
    rows: tuple[StoredRow, ...] = ()  # of an edited code in w+, row by row
    directions: tuple[Direction, ...] = ()

    def __post_init__(self) -> None:
        for row in self.style_mix:
            check_range("style_mix", row, 0, MAX_ROWS - 1)
        for angle in self.condition or ():
            check_range("condition", angle, -2 * math.pi, 2 * math.pi)
        check_options(self, {"seed_a": "seed A", "seed_b": "seed B"})
        for name, code in (("code", self.code), ("code_b", self.code_b)):
            if code:
                check_sha256(name, code)
        if len({item.row for item in self.rows}) != len(self.rows):
            raise InvalidRequest("a row of the latent is given twice in rows")
        check_range("number of directions", len(self.directions), 0, MAX_DIRECTIONS)

    def codes(self) -> tuple[str, ...]:
        """Return the stored codes that this latent needs, each once, by sha256."""
        named = (self.code, self.code_b, *(row.code for row in self.rows), *(step.code for step in self.directions))
        return tuple(dict.fromkeys(code for code in named if code))


@dataclass(frozen=True, eq=False)
class CodeBlob:
    """A latent as an array, for storing it in a document. ws: float32 [num_ws, w_dim]. `Latent` names
    it by the sha256 of these packed bytes. A row or a direction of a latent can also be float32 [1, w_dim]."""

    ws: np.ndarray
