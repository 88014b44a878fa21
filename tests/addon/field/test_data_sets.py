"""Which files of a data set are sent, that each is sent once, and what comes back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from addon.field import data_sets
from addon.link.client import Client
from addon.wire import errors, routes
from addon.wire.messages import SfmResult
from tests.addon import fake_backend


@pytest.fixture
def server() -> Iterator[tuple[Client, fake_backend.State]]:
    server, state = fake_backend.start_server()
    client = Client(server.server_address[1], fake_backend.TOKEN)
    yield client, state
    client.close()
    server.shutdown()
    server.server_close()


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_of_transforms_the_files_that_they_name_are_sent(tmp_path: Path) -> None:
    write(
        tmp_path, "train/r_0.png", "train/r_1.png", "test/r_0.png", "test/r_0_depth_0001.png", "masks/m.png",
        "cloud.ply", "dynamic_mask_b.png", "b.jpg", "n.png", "notes.txt", "images_2/b.jpg", "../secret.png",
    )  # fmt: skip
    train = {"frames": [{"file_path": "./train/r_0"}, {"file_path": "train/r_1.png", "mask_path": "masks/m.png"}]}
    test = {
        "frames": [
            {"file_path": "test\\r_0"},
            {"file_path": "b.jpg", "normal_file_path": "n.png"},
            {"file_path": "../secret.png"},
        ]
    }
    (tmp_path / "transforms_train.json").write_text(json.dumps(train | {"ply_file_path": "cloud.ply"}))
    (tmp_path / "transforms_test.json").write_text(json.dumps(test))
    assert sorted(data_sets.files_of(tmp_path)) == sorted(
        ["transforms_train.json", "transforms_test.json", "train/r_0.png", "train/r_1.png", "test/r_0.png",
         "masks/m.png", "cloud.ply", "b.jpg", "dynamic_mask_b.png"]
    )  # fmt: skip


def test_of_a_colmap_model_all_images_are_sent_but_no_smaller_copies(tmp_path: Path) -> None:
    write(tmp_path, "sparse/0/cameras.bin", "sparse/0/images.bin", "sparse/0/points3D.bin", "images/a.jpg")
    write(tmp_path, "images/deep/b.JPG", "images_4/a.jpg", "database.db", ".cache/c.jpg")
    assert sorted(data_sets.files_of(tmp_path)) == [
        "images/a.jpg", "images/deep/b.JPG", "sparse/0/cameras.bin", "sparse/0/images.bin", "sparse/0/points3D.bin",
    ]  # fmt: skip


@pytest.mark.parametrize("names", [(), ("a.jpg", "b.jpg"), ("cameras.txt",)])
def test_a_folder_without_cameras_is_a_sentence_with_a_remedy(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(errors.UnusableDataset, match="holds no cameras: choose a folder"):
        data_sets.files_of(write(tmp_path, *names))
    with pytest.raises(errors.UnusableDataset, match="There is no folder"):
        data_sets.files_of(tmp_path / "nowhere")


def test_damaged_transforms_are_sent_for_the_backend_to_judge(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text("{")
    assert data_sets.files_of(tmp_path) == ["transforms.json"]


def test_photographs_are_a_folder_any_of_its_images_or_a_video(tmp_path: Path) -> None:
    write(tmp_path, "set/images/b.jpg", "set/images/a.png", "set/notes.txt", "film/walk.mp4", "two/a.mp4", "two/b.mov")
    write(tmp_path, "set/masks/a.png", "set/images_4/a.png", "set/.cache/a.png")
    images = tmp_path / "set" / "images"
    assert data_sets.photographs(tmp_path / "set") == (tmp_path / "set", ["images/a.png", "images/b.jpg"])
    assert data_sets.photographs(images / "b.jpg") == (images, ["a.png", "b.jpg"])
    assert data_sets.photographs(tmp_path / "film") == (tmp_path / "film", ["walk.mp4"])
    assert data_sets.photographs(tmp_path / "two" / "b.mov") == (tmp_path / "two", ["b.mov"])
    for place, sentence in (("two", "several videos"), ("empty", "no photographs"), ("nowhere", "no file or folder")):
        if place == "empty":
            (tmp_path / place).mkdir()
        with pytest.raises(errors.UnusableDataset, match=sentence):
            data_sets.photographs(tmp_path / place)


def test_files_are_hashed_and_sent_once(
    server: tuple[Client, fake_backend.State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, state = server
    write(tmp_path, "a.png", "b.png")
    (tmp_path / "c.png").write_bytes(b"b.png")
    (tmp_path / "empty.txt").write_bytes(b"")
    names = ["a.png", "b.png", "c.png", "empty.txt"]
    told: list[float] = []
    sent = data_sets.upload(client, tmp_path, names, lambda: None, lambda part, text: told.append(part))
    assert sent == {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names}
    assert {state.blobs[sha256] for sha256 in sent.values()} == {b"a.png", b"b.png", b""}
    assert told == [0.0, 0.25, 0.5, 0.75]
    before = dict(state.blobs)
    state.blobs = Untouched(before)
    assert data_sets.upload(client, tmp_path, names, lambda: None, lambda part, text: None) == sent


class Untouched(dict[str, bytes]):
    def __setitem__(self, name: str, data: bytes) -> None:
        raise AssertionError("sent again")


def test_a_large_file_goes_through_whole_and_can_be_given_up(
    server: tuple[Client, fake_backend.State], tmp_path: Path
) -> None:
    client, state = server
    data = np.random.default_rng(0).bytes((3 << 20) + 17)
    (tmp_path / "film.mp4").write_bytes(data)
    assert state.blobs[client.upload_file(tmp_path / "film.mp4")] == data
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) > 2:
            raise errors.Cancelled

    with pytest.raises(errors.Cancelled):
        client.upload_file(tmp_path / "film.mp4", check)


def test_files_that_cannot_be_sent_are_sentences(
    server: tuple[Client, fake_backend.State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = server
    with pytest.raises(errors.UnreadableFile, match="cannot be read"):
        client.upload_file(tmp_path / "gone.png")
    monkeypatch.setattr(routes, "MAX_BLOB_BYTES", 3)
    with pytest.raises(errors.TooLarge, match=r"a\.png has"):
        client.upload_file(write(tmp_path, "a.png") / "a.png")


def test_posed_photographs_become_a_data_set(server: tuple[Client, fake_backend.State], tmp_path: Path) -> None:
    client, state = server
    name = state.keep(b"jpeg")
    transforms = json.dumps({"frames": [{"file_path": "images/a.jpg"}]})
    none = np.zeros((0, 3), np.float32)
    result = SfmResult(
        ("a.jpg",), np.eye(4, dtype=np.float32)[None], np.eye(3, dtype=np.float32)[None], np.array([[4, 3]], np.int32),
        none, none.astype(np.uint8), transforms, "{}", {"images/a.jpg": name},
    )  # fmt: skip
    data_sets.write_posed(client, result, tmp_path / "new", lambda part, text: None)
    assert data_sets.files_of(tmp_path / "new") == ["transforms.json", "images/a.jpg"]
    assert (tmp_path / "new" / "images" / "a.jpg").read_bytes() == b"jpeg"


def test_given_cameras_are_opencv_cameras_with_their_lens(tmp_path: Path) -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = 1, 2, 3
    frames = [{"file_path": "a.png", "transform_matrix": matrix.tolist()}, {"file_path": "b.png"}]
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 50, "w": 100, "frames": frames[:1]}))
    found = data_sets.given_cameras(tmp_path)["a.png"]
    assert found.lens == 0.5
    np.testing.assert_array_equal(found.world_from_camera[:3, 2], (0, 0, -1))
    np.testing.assert_array_equal(found.world_from_camera[:3, 3], (1, 2, 3))
    (tmp_path / "transforms.json").write_text(json.dumps({"camera_angle_x": np.pi / 2, "frames": frames}))
    assert data_sets.given_cameras(tmp_path)["a.png"].lens == pytest.approx(0.5)
    (tmp_path / "transforms.json").write_text("[")
    assert data_sets.given_cameras(tmp_path) == {}
