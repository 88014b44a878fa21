"""Commands with relative paths, from a folder that is not the project's; and the one document of --json."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

import build
from tests.backend.nerf.datasets import captures
from tests.shared import CHECKPOINTS


def answered(output: tuple[int, str, str]) -> dict[str, Any]:
    """Return the one JSON document that a command wrote to stdout."""
    status, out, err = output
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_each_command_takes_relative_paths_and_answers_one_document(
    shapes_model: str, backend_command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    captures.transforms(Path("set"), 9)

    def run(*arguments: Any) -> dict[str, Any]:
        return answered(backend_command(*arguments, "--json"))

    (file,) = run("generate", "shapes", "--size", 16, "--out", "a/b.png")["files"]
    assert Path(file).is_file() and not Path(file).is_absolute()
    assert run("mesh", "shapes", "--resolution", 16, "--out", "mesh.obj")["vertices"] > 8
    fit = run("fit", "set", "--out", "scenes/one.safetensors", "--steps", 2, "--preset", "draft",
              "--poses-out", "./set/after.json")  # fmt: skip
    assert fit["scene"] == "scenes/one.safetensors" and Path("set/after.json").is_file()
    assert run("eval", "./scenes/one.safetensors", "set", "--out", "pairs")["views"]
    frames = run("render", "scenes/one.safetensors", "--camera-path", "set/after.json", "--out", "frames")["files"]
    assert len(frames) == 9 and all(Path(name).is_file() for name in frames)
    made = run("import", Path(CHECKPOINTS / "gan3d_G.pth"), "--out", "./imported")
    assert made and Path("imported/card.json").is_file()
    assert run("generate", "./imported", "--size", 16, "--out", "c.png")["files"] == ["c.png"]
    assert run("models")
    assert run("training-data", "set", "--side", 8)
    monkeypatch.chdir(tmp_path / "set")
    assert run("mesh", "../imported", "--resolution", 16, "--out", "../again.ply")["files"] == ["../again.ply"]
    status, out, _ = backend_command("render", "shapes", "--camera-path", "nowhere.json", "--out", "x", "--json")
    assert status == 1 and "nowhere.json" in json.loads(out)["error"]["message"]


def test_a_bug_is_a_document_too(backend_command: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("backend.cli.app.cli", lambda **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        backend_command("models", "--json")
    assert "ZeroDivisionError" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_nothing_else_is_on_stdout_in_a_new_process(tmp_path: Path) -> None:
    """Warp greets where it is initialised, and says what it compiles."""
    box = trimesh.creation.box((0.5, 0.5, 0.5))
    box.apply_translation(np.array([1.0, 0.0, 0.0]))
    box.export(tmp_path / "box.stl")
    done = subprocess.run(
        [sys.executable, "-m", "backend", "--data", "data", "fit-shape", "box.stl", "--name", "box", "--steps", "1",
         "--json"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(build.ROOT)}, capture_output=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["model"] == "box"
