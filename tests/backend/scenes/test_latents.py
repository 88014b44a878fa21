"""Latents of requests as ws: seeds, stored codes for A and B, single rows, and directions."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from addon.wire import payload
from addon.wire.errors import BlobMissing, InvalidRequest, MalformedPayload
from addon.wire.messages import CodeBlob, Direction, Latent, RenderRequest, SceneRef, StoredRow
from backend.cameras import orbit
from backend.progress import silent
from backend.scenes.generator import Generator
from backend.scenes.latents import ws_from_latent
from backend.tasks.render import render
from backend.tasks.workspace import Workspace


class Codes:
    """Stored codes in memory, by sha256."""

    def __init__(self) -> None:
        self.known: dict[str, Tensor] = {}

    def put(self, ws: Tensor) -> str:
        sha256 = hashlib.sha256(ws.numpy().tobytes()).hexdigest()
        self.known[sha256] = ws
        return sha256

    def __call__(self, sha256: str) -> Tensor:
        return self.known[sha256]


@pytest.fixture
def codes() -> Codes:
    return Codes()


@pytest.fixture
def workspace(data: Path, shapes_model: str) -> Workspace:
    return Workspace("cpu")


@pytest.fixture
def generator(workspace: Workspace) -> Generator:
    return workspace.generator("shapes")


def seeded(generator: Generator, seed: int, psi: float = 1.0) -> Tensor:
    return generator.mapping(generator.sample_z(seed), truncation_psi=psi)[0]


CODE_A, CODE_B = torch.arange(8.0).reshape(2, 4), -torch.arange(8.0).reshape(2, 4)


def test_each_of_a_and_b_is_a_seed_or_a_stored_code(generator: Generator, codes: Codes) -> None:
    a, b = codes.put(CODE_A), codes.put(CODE_B)
    mixed = Latent(3, 5, 0.25, 0.75)
    for latent, first, second in (
        (mixed, seeded(generator, 3), seeded(generator, 5)),
        (replace(mixed, code=a), CODE_A, seeded(generator, 5)),
        (replace(mixed, code_b=b), seeded(generator, 3), CODE_B),
        (replace(mixed, code=a, code_b=b), CODE_A, CODE_B),
    ):
        expected = torch.stack((torch.lerp(first[0], second[0], 0.25), torch.lerp(first[1], second[1], 0.75)))
        torch.testing.assert_close(ws_from_latent(generator, latent, codes), expected)
    assert torch.equal(ws_from_latent(generator, Latent(code=a, code_b=b), codes), CODE_A)


def test_truncation_moves_seeds_and_leaves_stored_codes_and_directions(generator: Generator, codes: Codes) -> None:
    a, step = codes.put(CODE_A), codes.put(torch.ones(2, 4))
    for psi in (0.0, 0.5, 1.0):
        latent = Latent(3, 5, 0.5, 0.5, psi, code=a, directions=(Direction(step, 2.0),))
        expected = torch.lerp(CODE_A, seeded(generator, 5, psi), 0.5) + 2.0
        torch.testing.assert_close(ws_from_latent(generator, latent, codes), expected)


def test_style_mixing_takes_rows_of_a_stored_b(generator: Generator, codes: Codes) -> None:
    ws = ws_from_latent(generator, Latent(3, code_b=codes.put(CODE_B), style_mix=(1,)), codes)
    assert torch.equal(ws, torch.stack((seeded(generator, 3)[0], CODE_B[1])))


def test_single_rows_come_from_stored_codes_of_all_rows_or_of_one(generator: Generator, codes: Codes) -> None:
    whole, single = codes.put(CODE_B), codes.put(torch.full((1, 4), 7.0))
    latent = Latent(3, rows=(StoredRow(0, single), StoredRow(1, whole)))
    assert torch.equal(ws_from_latent(generator, latent, codes), torch.stack((torch.full((4,), 7.0), CODE_B[1])))
    edited = replace(latent, rows=latent.rows[:1], style_mix=(0,), seed_b=5)
    assert torch.equal(ws_from_latent(generator, edited, codes)[0], torch.full((4,), 7.0)), "rows win over mixing"


def test_directions_add_up_on_the_rows_they_name(generator: Generator, codes: Codes) -> None:
    every, one = codes.put(torch.ones(1, 4)), codes.put(CODE_A)
    latent = Latent(3, directions=(Direction(every, -0.5), Direction(one, 2.0, (1,)), Direction(every, 0.0)))
    base = seeded(generator, 3)
    torch.testing.assert_close(
        ws_from_latent(generator, latent, codes), torch.stack((base[0] - 0.5, base[1] - 0.5 + 2.0 * CODE_A[1]))
    )


def test_an_edit_leaves_the_stored_code_as_it_is(generator: Generator, codes: Codes) -> None:
    a = codes.put(CODE_A.clone())
    latent = Latent(code=a, rows=(StoredRow(0, codes.put(CODE_B)),), directions=(Direction(a, 3.0),))
    ws_from_latent(generator, latent, codes)
    assert torch.equal(codes(a), CODE_A)


@pytest.mark.parametrize(
    ("latent", "sentence"),
    [
        (lambda code: Latent(code=code((3, 4))), r"shape \[3, 4\]; shapes takes \[2, 4\].*another model"),
        (lambda code: Latent(code=code((1, 4))), r"shape \[1, 4\]; shapes takes \[2, 4\]"),
        (lambda code: Latent(code_b=code((2, 5))), "another model"),
        (lambda code: Latent(rows=(StoredRow(0, code((1, 5))),)), "another model"),
        (lambda code: Latent(rows=(StoredRow(2, code((1, 4))),)), "names row 2; this model has 2 rows"),
        (lambda code: Latent(directions=(Direction(code((4,))),)), "another model"),
        (lambda code: Latent(directions=(Direction(code((1, 4)), 1.0, (0, 9)),)), "names row 9; this model has 2 rows"),
        (lambda code: Latent(style_mix=(2,)), "style_mix names row 2; this model has 2 rows"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_by_name(
    generator: Generator, codes: Codes, latent: Any, sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        ws_from_latent(generator, latent(lambda shape: codes.put(torch.ones(shape))), codes)


def test_a_workspace_renders_latents_of_uploaded_codes(workspace: Workspace, generator: Generator) -> None:
    camera = orbit(generator.info, 24)

    def put(array: np.ndarray) -> str:
        return workspace.blobs.put(payload.pack(CodeBlob(array)), keep=True)

    def shown(latent: Latent) -> np.ndarray:
        return render(RenderRequest(SceneRef("shapes", latent), camera), silent, workspace).rgba

    b = put(seeded(generator, 5).numpy())
    np.testing.assert_array_equal(shown(Latent(3, code_b=b, mix_geometry=0.5)), shown(Latent(3, 5, mix_geometry=0.5)))
    step = put(np.full((1, 4), 2.0, np.float32))
    moved = shown(Latent(3, directions=(Direction(step, 1.0, (1,)),)))
    assert np.abs(moved - shown(Latent(3))).max() > 0.1
    np.testing.assert_array_equal(shown(Latent(3, directions=(Direction(step, 0.0),))), shown(Latent(3)))
    with pytest.raises(BlobMissing):
        shown(Latent(3, directions=(Direction("a" * 64),)))
    with pytest.raises(MalformedPayload, match="not finite"):
        shown(Latent(3, code_b=put(np.full((2, 4), np.inf, np.float32))))
