"""A model is one folder and one line: the example of docs/add-a-model.md, in a folder outside the repository."""

from __future__ import annotations

import copy
import json
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import build
from addon.wire import messages, payload, routes
from addon.wire.messages import Latent, MeshRequest, RenderRequest, SceneRef
from backend import generators
from backend.blobs import BlobStore
from backend.cameras import orbit
from backend.models.library import load_model
from backend.progress import silent
from backend.service import tasks
from backend.service.app import Service, create_app
from backend.service.journal import JobJournal
from backend.service.queue import JobQueue
from backend.tasks.workspace import Workspace
from tests.backend.scenes import test_gradients as gradients
from tests.backend.service.test_app import HEADERS, INFO, TOKEN, Caller

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def blob_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package that the document shows, in a temporary folder, and its line in the registry."""
    text = (build.ROOT / "docs" / "add-a-model.md").read_text(encoding="utf-8")
    modules = dict(re.findall(r"```python\n# blob/(\w+\.py)\n(.*?)```", text, re.DOTALL))
    assert modules.keys() == {"model.py", "scene.py", "checkpoint.py", "recipe.py"}
    package = tmp_path / "elsewhere" / "blob"
    package.mkdir(parents=True)
    for name, source in {"__init__.py": "", **modules}.items():
        (package / name).write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setitem(generators.MODELS, "blob", "blob")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "blob"]:
        del sys.modules[name]


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An official file: a pickled module of a class that only the authors' code has."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_size, self.to_color = nn.Linear(6, 1), nn.Linear(6, 3)

    authors = ModuleType("official_blob")
    Net.__module__, Net.__qualname__ = "official_blob", "Net"
    authors.Net = Net  # type: ignore[attr-defined]
    torch.manual_seed(2)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "official_blob", authors)
        torch.save(Net(), tmp_path / "official.pth")
    return tmp_path / "official.pth"


@pytest.fixture
def blob_model(blob_kind: None, official: Path, data: Path, backend_command: Command) -> str:
    """The model that the official file becomes."""
    status, out, err = backend_command("import", official, "--out", data / "models" / "blob", "--json")
    assert status == 0, err
    assert json.loads(out)["kind"] == "blob"
    return "blob"


def test_an_official_file_is_refused_where_its_model_is_not_registered(
    official: Path, backend_command: Command
) -> None:
    status, _, err = backend_command("import", official, "--out", official.parent / "model")
    assert status == 1 and "official_blob.Net" in err


def test_it_renders(blob_model: str) -> None:
    shared = Workspace("cpu")
    camera = orbit(shared.generator(blob_model).info, 32)
    image = tasks.run("render", RenderRequest(SceneRef(blob_model, Latent(3)), camera), silent, shared)
    assert image.rgba[16, 16, 3] > 0.99 and image.rgba[0, 0, 3] == 0
    assert np.isfinite(image.depth[16, 16]) and np.isinf(image.depth[0, 0])
    assert generators.image_memory("blob").bytes_of(1) == 128 + 40 * 64


def test_it_meshes(blob_model: str) -> None:
    shared = Workspace("cpu")
    made = tasks.run("mesh", MeshRequest(SceneRef(blob_model, Latent(3)), resolution=48), silent, shared)
    radii = np.linalg.norm(made.vertices, axis=1)
    assert radii.std() < 0.01 and 0.2 < radii.mean() < 0.7
    assert made.colors is None or made.colors.shape[0] == len(made.vertices)


def test_it_trains(blob_kind: None, data: Path, backend_command: Command) -> None:
    status, _, err = backend_command("train", "blob", "--out", data / "models" / "trained", "--steps", 60)
    assert status == 0, err
    generator = load_model(data / "models" / "trained")
    scene = generator.synthesize(generator.mean_ws())
    camera = gradients.a_camera(generator, 16, torch.float32)
    assert float(scene.render(camera).alpha.mean()) == pytest.approx(0.25, abs=0.01)


def test_the_panel_gets_its_description(blob_model: str, tmp_path: Path) -> None:
    shared = Workspace("cpu")
    jobs = JobQueue(lambda *_: None, JobJournal(tmp_path))
    service = Service(TOKEN, jobs, BlobStore(tmp_path / "blobs"), lambda: INFO, shared.models, lambda: None)
    call = Caller(create_app(service))
    answer = payload.from_json(messages.ModelList, call("GET", routes.MODELS, headers=HEADERS).content)
    call.close()
    jobs.close()
    info = next(info for info in answer.models if info.name == blob_model)
    assert (info.kind, info.source, info.has_surface, info.num_ws, info.w_dim) == ("blob", "imported", True, 2, 6)
    assert "blob" in answer.kinds


def test_its_pixels_have_the_derivatives_of_the_contract(blob_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Workspace("cpu").generator(blob_model)
    monkeypatch.setitem(gradients.CASES, "blob", gradients.Case(lambda: generator))
    held = gradients.HeldSamples()

    def doubled() -> Any:
        copied = copy.deepcopy(generator)
        gradients.cast_network(copied)
        return copied

    gradients.test_pixels_have_the_derivative_in_ws("blob", doubled(), held)
    gradients.test_pixels_have_the_derivative_in_the_camera("blob", doubled(), held)
    gradients.test_pixels_have_the_derivative_in_the_weights("blob", doubled(), held, "all")
    assert math.isfinite(float(generator.mean_ws().sum()))
