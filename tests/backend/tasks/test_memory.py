"""Memory estimates of renders agree with what they take, and a render that cannot fit is refused before the start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from addon.wire.errors import OutOfMemory
from addon.wire.messages import GenerateRequest, Latent, RenderRequest, SceneRef
from backend.cameras import orbit
from backend.checkpoints.convert import import_model
from backend.generators import MODELS, image_memory
from backend.progress import silent
from backend.tasks.generate import generate
from backend.tasks.memory import check_image_memory
from backend.tasks.render import render
from backend.tasks.workspace import Workspace
from tests.shared import CHECKPOINTS

FREE = 3 << 30


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workspace, "free_memory", lambda self: FREE)


@pytest.mark.parametrize("kind", [*MODELS, ""])
def test_an_image_too_large_is_refused_with_the_size_that_fits(kind: str, tmp_path: Path, little_memory: None) -> None:
    workspace = Workspace("cpu", roots=[tmp_path])
    check_image_memory(workspace, kind, 256, 256)
    with pytest.raises(OutOfMemory, match=r"An image side of 8192 needs about .* GB .* would fit") as caught:
        check_image_memory(workspace, kind, 8192, 4608)
    remedy = caught.value.remedy
    assert remedy is not None and remedy.action == "lower_resolution" and isinstance(remedy.value, int)
    fits = remedy.value
    assert 256 <= fits < 8192 and fits % 8 == 0
    check_image_memory(workspace, kind, fits, fits * 4608 // 8192)
    with pytest.raises(OutOfMemory):
        check_image_memory(workspace, kind, fits + 64, (fits + 64) * 4608 // 8192)
    check_image_memory(workspace, kind, fits, fits * 4608 // 8192, draft=True)


def test_more_samples_need_more_memory_and_none_at_all_offers_no_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workspace, "free_memory", lambda self: FREE)
    workspace = Workspace("cpu", roots=[tmp_path])
    check_image_memory(workspace, "pigan", 1024, 1024)
    with pytest.raises(OutOfMemory):
        check_image_memory(workspace, "pigan", 1024, 1024, samples_per_ray=1024)
    with pytest.raises(OutOfMemory):
        check_image_memory(workspace, "graf", 512, 512, images=2000)
    monkeypatch.setattr(Workspace, "free_memory", lambda self: 1 << 20)
    with pytest.raises(OutOfMemory, match="Close other programs") as caught:
        check_image_memory(workspace, "pigan", 64, 64)
    assert caught.value.remedy is None


def test_render_and_sheets_refuse_before_they_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_model(CHECKPOINTS / "graf_model.pt", tmp_path / "graf")
    workspace = Workspace("cpu", roots=[tmp_path])
    camera = orbit(workspace.generator("graf").info, 8192)
    monkeypatch.setattr(Workspace, "free_memory", lambda self: FREE)

    def started(*_: object, **__: object) -> None:
        raise AssertionError("it started")

    monkeypatch.setattr(Workspace, "scene", started)
    with pytest.raises(OutOfMemory, match="8192 needs about"):
        render(RenderRequest(SceneRef("graf"), camera), silent, workspace)
    with pytest.raises(OutOfMemory, match="8192 needs about"):
        generate(GenerateRequest("graf", (Latent(),), camera=camera), silent, workspace)


def test_the_command_line_says_which_size_would_fit(
    backend_command: Callable[..., tuple[int, str, str]], tmp_path: Path, little_memory: None
) -> None:
    import_model(CHECKPOINTS / "pigan", tmp_path / "model")
    image = tmp_path / "image.png"
    status, _, err = backend_command("generate", tmp_path / "model", "--size", 8192, "--out", image)
    assert status == 1 and not image.exists()
    assert "An image side of 8192 needs about" in err and "would fit" in err


FILES = {"pigan": "pigan", "graf": "graf_model.pt", "eg3d": "eg3d_network-snapshot-000000.pkl"}


@pytest.mark.skipif(sys.platform != "linux", reason="measured by the process's peak as Linux counts it")
@pytest.mark.parametrize("kind", FILES)
def test_what_a_pixel_takes_was_measured(kind: str, tmp_path: Path) -> None:
    import_model(CHECKPOINTS / FILES[kind], tmp_path / "model")

    def peak(size: int) -> int:
        command = [sys.executable, "-m", "tests.backend.tasks.image_memory", str(tmp_path / "model"), str(size)]
        return int(subprocess.run([*command, "away"], capture_output=True, check=True, text=True).stdout)

    small, large = (1024, 2048) if kind == "eg3d" else (512, 1024)
    measured = (peak(large) - peak(small)) / (large**2 - small**2)
    memory = image_memory(kind)
    estimated = memory.bytes_of(1) - memory.fixed
    assert estimated / 5 < measured < estimated, (measured, estimated)
