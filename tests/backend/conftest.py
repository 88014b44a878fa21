"""Fixtures of the backend's tests: a data folder of their own, with the shapes model in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

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
    monkeypatch.setitem(shapes.generators.GENERATORS, shapes.KIND, shapes.load)
    yield shapes.write(data / "models" / "shapes").name
