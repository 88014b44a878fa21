"""Scene files: they open elsewhere, and a file that is not one does no harm."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from addon.wire.errors import CannotWrite, UnreadableModel
from addon.wire.messages import SceneRef
from backend import generators
from backend.models import scene_file
from backend.models.scene_file import load_scene, read_scene_card, save_scene
from backend.tasks.workspace import Workspace
from tests.backend.fixtures import shapes

CARD = shapes.ModelCard(shapes.KIND, "Größe", "a scene", "CC0-1.0", False, {}, pose_prior={"radius": 2.0})


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(generators.MODELS, shapes.KIND, shapes.__name__)
    path = tmp_path / "a chair.safetensors"
    save_scene(path, CARD, {"basis": torch.eye(4)})
    return path


def rewritten(path: Path, **metadata: str) -> None:
    tensors = load_file(path)
    save_file(tensors, path, {"format": scene_file.FORMAT, "card": "{}", **metadata})


@pytest.mark.skipif(os.name != "posix", reason="error numbers of POSIX")
@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", "is full. Free some space"),
        (
            "Error while serializing: I/O error: Permission denied (os error 13)",
            "could not be stored in .*: Permission",
        ),
        ("Error while serializing: something else", "could not be stored in .*: Input/output error"),
    ],
)
def test_a_write_that_fails_is_a_sentence_without_the_words_of_a_library(
    scene: Path, monkeypatch: pytest.MonkeyPatch, raw: str, sentence: str
) -> None:
    def fail(*_: Any) -> None:
        raise SafetensorError(raw)

    monkeypatch.setattr(scene_file, "save_file", fail)
    with pytest.raises(CannotWrite, match=sentence) as caught:
        save_scene(scene, CARD, {"basis": torch.eye(4)})
    assert "serializing" not in caught.value.message and "os error" not in caught.value.message
    assert read_scene_card(scene) == CARD


def test_a_scene_file_opens_where_nothing_else_of_its_maker_is(scene: Path, data: Path) -> None:
    assert read_scene_card(scene) == CARD
    workspace = Workspace("cpu")
    name = workspace.add_folder(scene)
    assert name == "a_chair"
    assert workspace.generator(name).info.label == "Größe"
    assert workspace.scene(SceneRef(name)).info.quantity == "sdf"
    assert name in [info.name for info in workspace.models().models]


def test_a_scene_file_is_the_old_or_the_new_one_and_nothing_is_left_beside(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = scene.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scene_file.os, "replace", full)
    with pytest.raises(CannotWrite, match="full"):
        save_scene(scene, CARD, {"basis": 2 * torch.eye(4)})
    assert scene.read_bytes() == before
    assert list(scene.parent.glob(".*")) == []


def hostile(path: Path, how: str) -> None:
    data = path.read_bytes()
    header = {"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    card = json.loads(json.dumps({"kind": shapes.KIND, "label": "a", "description": "", "licence": "",
                                  "non_commercial": False, "constructor": {}}))  # fmt: skip
    match how:
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(data[:-7])
        case "garbage":
            path.write_bytes(b"\xff" * 1000)
        case "pickle":
            path.write_bytes(pickle.dumps({"a": 1}))
        case "sizes that lie":
            text = json.dumps(header).encode()
            path.write_bytes(struct.pack("<Q", len(text)) + text)
        case "header that lies":
            path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
        case "no card":
            save_file(load_file(path), path)
        case "card is not JSON":
            rewritten(path, card="{")
        case "card is a list":
            rewritten(path, card="[]")
        case "card without kind":
            rewritten(path, card="{}")
        case "field unknown":
            rewritten(path, card=json.dumps({**card, "run": "rm"}))
        case "field of another type":
            rewritten(path, card=json.dumps({**card, "constructor": "os.system"}))
        case "kind unknown":
            rewritten(path, card=json.dumps({**card, "kind": "builtins"}))
        case "card endless":
            rewritten(path, card=json.dumps({**card, "card": "a" * (2 << 20)}))
        case "tensor missing":
            save_file({"other": torch.eye(4)}, path, {"format": scene_file.FORMAT, "card": json.dumps(card)})
        case "tensor of another shape":
            save_file({"basis": torch.eye(3)}, path, {"format": scene_file.FORMAT, "card": json.dumps(card)})
        case "folder":
            path.unlink()
            path.mkdir()


@pytest.mark.parametrize(
    "how",
    [
        "empty", "truncated", "garbage", "pickle", "sizes that lie", "header that lies", "no card", "card is not JSON",
        "card is a list", "card without kind", "field unknown", "field of another type", "kind unknown",
        "card endless", "tensor missing", "tensor of another shape", "folder",
    ],
)  # fmt: skip
def test_what_is_no_scene_is_a_sentence(scene: Path, how: str) -> None:
    hostile(scene, how)
    with pytest.raises(UnreadableModel) as caught:
        load_scene(scene)
    assert str(scene) in caught.value.message or scene.name in caught.value.message


def test_a_file_that_is_being_read_is_replaced_after_a_retry(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Windows has it: replacing a file that is open elsewhere is refused."""
    refused, original = [3], scene_file.os.replace

    def replace(*arguments: Any) -> None:
        refused[0] -= 1
        if refused[0] >= 0:
            raise PermissionError(13, "The process cannot access the file")
        original(*arguments)

    monkeypatch.setattr(scene_file.os, "replace", replace)
    save_scene(scene, CARD, {"basis": 2 * torch.eye(4)})
    assert load_file(scene)["basis"][0, 0] == 2 and refused[0] == -1


def test_what_a_killed_process_left_half_written_goes_with_the_next_save(scene: Path) -> None:
    left = scene.with_name(f".{scene.name}.999999999.part")
    ours = scene.with_name(f".{scene.name}.1.part")  # of a process that lives
    left.write_bytes(b"half")
    ours.write_bytes(b"half")
    save_scene(scene, CARD, {"basis": torch.eye(4)})
    assert not left.exists() and ours.exists()
