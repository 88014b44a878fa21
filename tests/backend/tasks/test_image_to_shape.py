"""Image to shape: as a task, and from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from addon.wire.errors import NotSupported, UnreadableFile
from addon.wire.messages import ImageToShapeRequest, Latent, MeshRequest, SceneRef
from backend.folders import user_models
from backend.generators.gan3d.scene import GAN3D
from backend.models.card import ModelCard
from backend.models.store import save_model
from backend.progress import silent
from backend.service import tasks
from backend.tasks.workspace import Workspace


def ball_maker() -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """A 3D-GAN whose shapes are blobs in the middle, whatever the latent: small, but of something."""
    arguments: dict[str, Any] = {
        "z_dim": 4, "channels": 2, "side": 16, "prior": "normal", "mirror": True, "encoder_channels": 2
    }  # fmt: skip
    torch.manual_seed(0)
    model = GAN3D(**arguments)
    optimizer = torch.optim.Adam(model.generator.requires_grad_().parameters(), 0.03)
    line = torch.linspace(-1, 1, 16).square()
    target = ((line[:, None, None] + line[:, None] + line) < 0.4).float().expand(8, -1, -1, -1)
    model.generator.train()
    for _ in range(90):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model.generator.logits(torch.randn(8, 4)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    card = ModelCard("gan3d", "Blobs", "", "GPL-3.0-or-later", False, arguments)
    return card, model.state_dict()


@pytest.fixture
def blobs_model(data: Path) -> str:
    save_model(user_models() / "blobs", *ball_maker())
    return "blobs"


@pytest.fixture
def image() -> bytes:
    pixels = np.zeros((90, 120, 4), np.uint8)
    pixels[20:70, 40:80] = (120, 90, 60, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_becomes_a_kept_latent_that_renders_and_meshes(blobs_model: str, image: bytes) -> None:
    shared = Workspace("cpu")
    request = ImageToShapeRequest(blobs_model, shared.blobs.put(image))
    found = tasks.run("image_to_shape", request, silent, shared)
    assert found.ws.shape == (1, 4) and found.seen.shape == (64, 64, 3)
    assert "alpha" in found.notes[0]
    again = tasks.run("image_to_shape", request, silent, shared)
    assert again.code == found.code
    made = tasks.run("mesh", MeshRequest(SceneRef(blobs_model, Latent(code=found.code)), 32), silent, shared)
    assert len(made.faces) > 20 and np.abs(made.vertices.mean(0)).max() < 0.2


def test_a_printed_code_makes_the_same_shape_again(
    blobs_model: str, image: bytes, backend_command: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(image)
    first, again, seed, mixed = (tmp_path / f"{name}.ply" for name in ("first", "again", "seed", "mixed"))
    fine = ("--resolution", 32, "--json")
    _, out, _ = backend_command("image-to-shape", blobs_model, tmp_path / "a.png", "--out", first, *fine)
    code = json.loads(out)["code"]
    assert backend_command("mesh", blobs_model, "--code", code, "--out", again, *fine)[0] == 0
    assert backend_command("mesh", blobs_model, "--out", seed, *fine)[0] == 0
    assert trimesh.load(first).vertices == pytest.approx(trimesh.load(again).vertices)
    assert first.read_bytes() != seed.read_bytes()
    second = ("--code2", code, "--mix-geometry", 1, "--mix-appearance", 1)
    assert backend_command("mesh", blobs_model, *second, "--out", mixed, *fine)[0] == 0
    assert trimesh.load(mixed).vertices == pytest.approx(trimesh.load(again).vertices)


def test_an_empty_shape_says_so_as_a_render_and_as_a_mesh(
    blobs_model: str, monkeypatch: pytest.MonkeyPatch, backend_command: Any, tmp_path: Path
) -> None:
    monkeypatch.setattr(GAN3D, "voxels", lambda self, ws: torch.full((len(ws), 16, 16, 16), 0.3))
    _, _, said = backend_command("generate", blobs_model, "--size", 16, "--out", tmp_path / "a.png")
    assert "shape is empty" in said and "another seed" in said
    status, _, said = backend_command("mesh", blobs_model, "--out", tmp_path / "a.ply")
    assert status == 1 and "shape is empty" in said
    assert backend_command("mesh", blobs_model, "--level", 0.2, "--resolution", 32, "--out", tmp_path / "a.ply")[0] == 0


def test_a_model_without_an_encoder_says_so(shapes_model: str, image: bytes) -> None:
    shared = Workspace("cpu")
    with pytest.raises(NotSupported, match="no image encoder"):
        tasks.run("image_to_shape", ImageToShapeRequest("shapes", shared.blobs.put(image)), silent, shared)


def test_an_upload_that_is_not_an_image_is_refused(blobs_model: str) -> None:
    shared = Workspace("cpu")
    with pytest.raises(UnreadableFile, match="PNG, JPEG, WebP"):
        tasks.run("image_to_shape", ImageToShapeRequest(blobs_model, shared.blobs.put(b"hello")), silent, shared)


def test_the_command_writes_a_mesh_and_the_voxels(
    blobs_model: str, image: bytes, backend_command: Any, tmp_path: Path
) -> None:
    (tmp_path / "seen.png").write_bytes(image)
    mesh, voxels = tmp_path / "out.ply", tmp_path / "out.npy"
    command = ("image-to-shape", blobs_model, str(tmp_path / "seen.png"), "--out", str(mesh), "--voxels", str(voxels))
    status, out, errors = backend_command(*command, "--resolution", "32", "--json")
    assert status == 0, errors
    assert json.loads(out)["files"] == [str(mesh), str(voxels)] and "alpha" in errors
    assert trimesh.load(mesh).is_watertight
    stored = np.load(voxels)
    assert stored.shape == (16, 16, 16) and stored.dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.png", "--out", "x.ply"), "cannot be read"),
        (("seen.png", "--out", "x.stl"), "--out must end in"),
        (("seen.png", "--out", "x.ply", "--voxels", "x.vox", "--resolution", "16"), "--voxels must end in"),
    ],
)
def test_what_cannot_be_is_said(
    blobs_model: str, image: bytes, backend_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("seen.png").write_bytes(image)
    status, _, errors = backend_command("image-to-shape", blobs_model, *arguments)
    assert status != 0 and message in errors
