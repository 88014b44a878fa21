"""Fixtures of the backend's tests: a data folder of their own, with the shapes model in it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from backend import generators
from backend.cli import app, console
from tests.backend.fixtures import shapes

# Tests run side by side: threads that wait for each other by spinning make small work a hundred times slower.
torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder that the backend uses."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("LATENT_LATHE_DATA", str(folder))
    return folder


@pytest.fixture
def shapes_model(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the shapes model, stored among the user's models."""
    monkeypatch.setitem(generators.MODELS, shapes.KIND, shapes.__name__)
    yield shapes.write(data / "models" / "shapes").name


@pytest.fixture
def backend_command(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command line in this process and returns (exit status, stdout, stderr)."""

    def call(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["backend", *map(str, arguments)])
        monkeypatch.setattr(console, "stdout", console.Console(width=200))
        monkeypatch.setattr(console, "stderr", console.Console(stderr=True, width=200))
        try:
            status = app.main()
        except SystemExit as end:
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call
