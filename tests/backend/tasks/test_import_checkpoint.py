"""The task `import_checkpoint`: from uploads to a model folder, or to an error that leaves nothing behind."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from addon.wire.errors import BlobMissing, InvalidRequest, LatheError, UnknownCheckpoint, UnsafeCheckpoint
from addon.wire.messages import ImportRequest, Latent, RenderRequest, SceneRef
from backend.cameras import orbit
from backend.generators import importable_kinds
from backend.models import card as cards
from backend.progress import silent
from backend.tasks.import_checkpoint import import_checkpoint
from backend.tasks.render import render
from backend.tasks.workspace import Workspace
from tests.backend.fixtures import shapes
from tests.shared import CHECKPOINTS


@pytest.fixture
def workspace(data: Path) -> Workspace:
    return Workspace("cpu")


def upload(workspace: Workspace, path: Path) -> dict[str, str]:
    """Upload a file, or all files of a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    root = path.parent if path.is_file() else path
    return {file.relative_to(root).as_posix(): workspace.blobs.put(file.read_bytes()) for file in files}


def left_behind(data: Path) -> list[str]:
    return sorted(path.name for path in data.iterdir() if path.name not in ("blobs", "infos"))


@pytest.mark.parametrize(
    ("source", "kind"),
    [("eg3d_network-snapshot-000000.pkl", "eg3d"), ("graf_model.pt", "graf"), ("deepsdf_sofas", "deepsdf")],
)
def test_an_uploaded_checkpoint_becomes_a_model_that_renders(
    source: str, kind: str, workspace: Workspace, data: Path
) -> None:
    request = ImportRequest("mine", upload(workspace, CHECKPOINTS / source), label="Mine")
    assert import_checkpoint(request, silent, workspace).name == "mine"
    (info,) = [info for info in workspace.models().models if info.name == "mine"]
    assert (info.kind, info.label, info.source) == (kind, "Mine", "imported")
    camera = orbit(info, 16)
    image = render(RenderRequest(SceneRef("mine", Latent(3)), camera, "draft"), silent, workspace).rgba
    assert image.shape == (16, 16, 4)
    assert left_behind(data) == ["models"]


def test_the_list_of_models_names_the_kinds_that_can_be_imported(workspace: Workspace) -> None:
    assert {"eg3d", "stylenerf", "pigan", "graf", "shadegan", "stylesdf", "deepsdf"} <= set(workspace.models().kinds)
    assert workspace.models().kinds == importable_kinds()


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/latent_lathe_was_attacked",)


@pytest.mark.parametrize(
    ("data_of_file", "error", "sentence"),
    [
        (pickle.dumps(Attack()), UnsafeCheckpoint, "network.pkl"),
        (pickle.dumps({"something": 1}), UnknownCheckpoint, "a dictionary with something"),
        (pickle.dumps({"a": torch.zeros(3)})[:40], LatheError, "network.pkl"),
        (b"", LatheError, "network.pkl"),
    ],
)
def test_a_file_that_is_refused_leaves_nothing_and_says_why(
    data_of_file: bytes, error: type[LatheError], sentence: str, workspace: Workspace, data: Path
) -> None:
    files = {"network.pkl": workspace.blobs.put(data_of_file)}
    with pytest.raises(error) as caught:
        import_checkpoint(ImportRequest("mine", files), silent, workspace)
    assert sentence in caught.value.message
    assert str(data) not in caught.value.message, "where the upload lay means nothing to the user"
    assert left_behind(data) == []
    assert not Path("/tmp/latent_lathe_was_attacked").exists()


def test_only_an_imported_model_is_replaced(workspace: Workspace, data: Path) -> None:
    shapes.write(data / "models" / "shapes")
    files = upload(workspace, CHECKPOINTS / "graf_model.pt")
    for name in ("shapes", "deepsdf_chairs"):
        with pytest.raises(InvalidRequest, match="already that was not imported"):
            import_checkpoint(ImportRequest(name, files), silent, workspace)
    for label in ("First", "Second"):
        import_checkpoint(ImportRequest("graf", files, label=label), silent, workspace)
    assert cards.read_card(data / "models" / "graf").label == "Second"


def test_a_file_that_was_not_uploaded_is_asked_for(workspace: Workspace, data: Path) -> None:
    with pytest.raises(BlobMissing, match=r"network\.pkl"):
        import_checkpoint(ImportRequest("mine", {"network.pkl": "0" * 64}), silent, workspace)
    assert left_behind(data) == []


@pytest.mark.parametrize("kind", ["no_such", "GRAF"])
def test_a_kind_that_the_file_is_not_is_refused(kind: str, workspace: Workspace, data: Path) -> None:
    files = upload(workspace, CHECKPOINTS / "eg3d_network-snapshot-000000.pkl")
    with pytest.raises(UnknownCheckpoint, match=kind):
        import_checkpoint(ImportRequest("mine", files, kind.lower()), silent, workspace)
    assert left_behind(data) == []
