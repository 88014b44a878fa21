"""The command line, run in this process as by `python -m backend`."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image as Pillow
from scipy.spatial.transform import Rotation

from addon.wire.errors import NotSupported, UnreadableFile
from addon.wire.messages import Lens
from backend.camera_path import in_frame_of_scene, read_camera_path, world_from_camera
from backend.cameras import Camera, from_wire
from backend.cli import console
from backend.cli.shapes import read_scan
from backend.lens import valid_pixels
from backend.nerf.datasets import read_cameras
from backend.progress import silent
from backend.scenes.protocol import FieldInfo, Image
from backend.tasks.render import render_scene
from tests.backend.nerf.datasets import captures

COMMANDS = (
    "serve", "models", "generate", "render", "mesh", "complete", "fit-shape", "image-to-shape", "invert", "fit", "eval",
    "sfm", "views",
    "consistency", "judge", "estimate-poses", "bench", "import", "training-set", "training-data",
    "train",
)  # fmt: skip


@pytest.fixture
def run(shapes_model: str, backend_command: Any) -> Any:
    """The command line with the shapes model among the user's."""
    return backend_command


def camera_path(folder: Path) -> Path:
    """A nerfstudio camera path of two cameras on the −Y side, looking along +Y, y up along world Z."""
    poses = []
    for x in (-0.2, 0.2):
        matrix = np.array([[1, 0, 0, x], [0, 0, -1, -3], [0, 1, 0, 0], [0, 0, 0, 1]], float)
        poses.append({"camera_to_world": matrix.reshape(-1).tolist(), "fov": 45.0, "aspect": 1.5})
    path = folder / "camera_path.json"
    path.write_text(json.dumps({
        "camera_type": "perspective", "render_height": 40, "render_width": 60, "fps": 24, "seconds": 1,
        "camera_path": poses, "keyframes": [],
    }))  # fmt: skip
    return path


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_each_command_has_help(run: Any, command: str) -> None:
    status, out, _ = run(command, "--help")
    assert status == 0 and "--help" in out


def test_help_lists_every_command(run: Any) -> None:
    _, out, _ = run("--help")
    assert all(f"  {command} " in out for command in COMMANDS)


def test_models_for_people_and_for_programs(run: Any) -> None:
    assert "Between a sphere and a torus" in run("models")[1]
    found = json.loads(run("models", "--json")[1])
    assert "shapes" in [info["name"] for info in found["models"]]


def test_a_narrow_terminal_cuts_no_model_s_name(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Narrow(console.Console):
        def print(self, *args: Any, **kwargs: Any) -> None:
            super().print(*args, **kwargs, width=60)

    monkeypatch.setattr(console, "Console", Narrow)
    assert "deepsdf_chairs" in run("models")[1]


def test_the_camera_stops_at_the_pole(run: Any, tmp_path: Path) -> None:
    def pixels(pitch: int) -> bytes:
        file = tmp_path / f"{pitch}.png"
        assert run("generate", "shapes", "--size", 32, "--yaw", 30, "--pitch", pitch, "--out", file)[0] == 0
        return file.read_bytes()

    assert pixels(100) == pixels(150) != pixels(20)


def test_generate_writes_an_image_with_alpha(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "image.png"
    status, out, err = run("generate", "shapes", "--seed", 1, "--size", 48, "--out", file, "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert answer["files"] == [str(file)] and answer["width"] == 48
    with Pillow.open(file) as image:
        assert image.size == (48, 48) and image.mode == "RGBA"
        alpha = np.asarray(image)[..., 3]
    assert alpha.max() == 255 and alpha.min() == 0


def test_the_same_options_give_the_same_pixels_and_each_option_changes_them(run: Any, tmp_path: Path) -> None:
    def pixels(*options: Any) -> bytes:
        file = tmp_path / "a.png"
        status, _, err = run("generate", "shapes", "--size", 32, "--out", file, *options)
        assert status == 0, err
        return file.read_bytes()

    plain = pixels("--seed", 1)
    assert pixels("--seed", 1) == plain
    different = {
        pixels("--seed", 2), pixels("--seed", 1, "--yaw", 30), pixels("--seed", 1, "--pitch", 30),
        pixels("--seed", 1, "--fov", 30), pixels("--seed", 1, "--truncation", 0.5), pixels("--seed", 1, "--roll", 30),
        pixels("--seed", 1, "--seed2", 9, "--mix-geometry", 0.5),
        pixels("--seed", 1, "--seed2", 9, "--mix-appearance", 0.7),
        plain,
    }  # fmt: skip
    assert len(different) == 9


def test_a_model_folder_works_as_a_name_does(run: Any, data: Path, tmp_path: Path) -> None:
    named, by_folder = tmp_path / "a.png", tmp_path / "b.png"
    run("generate", "shapes", "--size", 16, "--out", named)
    moved = tmp_path / "elsewhere"
    (data / "models" / "shapes").rename(moved)
    assert run("generate", moved, "--size", 16, "--out", by_folder)[0] == 0
    assert named.read_bytes() == by_folder.read_bytes()


@pytest.mark.parametrize("command", ["render", "generate"])
def test_a_camera_path_becomes_numbered_frames(run: Any, tmp_path: Path, command: str) -> None:
    path = camera_path(tmp_path)
    status, out, err = run(command, "shapes", "--camera-path", path, "--out", tmp_path / "frames", "--json")
    assert status == 0, err
    files = [Path(file) for file in json.loads(out)["files"]]
    assert [file.name for file in files] == ["frame_00000.png", "frame_00001.png"]
    centres = []
    for file in files:
        with Pillow.open(file) as image:
            assert image.size == (60, 40)
            centres.append(np.nonzero(np.asarray(image)[..., 3])[1].mean())
    assert centres[0] > centres[1]  # the camera moved right, so the shape moved left


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb"])
def test_mesh_writes_a_file_that_others_read(run: Any, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"mesh.{suffix}"
    status, out, err = run("mesh", "shapes", "--resolution", 24, "--target-faces", 400, "--out", file, "--json")
    assert status == 0, err
    loaded = trimesh.load(file, force="mesh")
    assert len(loaded.faces) == json.loads(out)["faces"] <= 410
    assert loaded.volume > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "nothing", "--out", "a.png"], "no model named"),
        (["generate", "shapes", "--out", "a.jpg"], "--out must end in .png"),
        (["generate", "shapes", "--out", "a.png", "--size", "0"], "--size"),
        (["generate", "shapes", "--out", "a.png", "--fov", "180"], "--fov"),
        (["generate", "shapes", "--out", "a.png", "--mix-geometry", "0.5"], "--seed2"),
        (["generate", "shapes", "--out", "a.png", "--seed", "-1"], "seed A"),
        (["generate", "shapes", "--out", "a.png", "--seed", "2147483648"], "2147483647, got 2147483648: choose"),
        (["generate", "shapes", "--out", "a.png", "--yaw", "inf"], "--yaw must be a finite number"),
        (["generate", "shapes", "--out", "a.png", "--pitch", "nan"], "--pitch must be a finite number"),
        (["generate", "missing/folder", "--out", "a.png"], "no such folder or model: missing/folder"),
        (["generate", "shapes", "--out", "a.png", "--control", "delay"], "NAME=NUMBER"),
        (["generate", "shapes", "--out", "a.png", "--control", "fail=1"], "too little memory"),
        (["generate", "shapes", "--out", "file/a.png"], "cannot be written"),
        (["render", "shapes", "--camera-path", "missing.json", "--out", "d"], "There is no file"),
        (["mesh", "shapes", "--out", "a.stl"], ".obj, .ply or .glb"),
        (["mesh", "shapes", "--out", "a.ply", "--resolution", "5000"], "resolution must be between"),
        (["mesh", "shapes", "--out", "a.ply", "--resolution", "16", "--level", "-9"], "no surface"),
        (["mesh", "shapes", "--out", "missing/a.ply", "--resolution", "16"], "missing"),
        (["bench", "nothing"], "no bench"),
        (["train", "nothing"], "deepsdf"),
        (["import", "missing.pkl", "--out", "d"], "missing.pkl"),
    ],
)
def test_an_error_is_one_sentence_and_status_1(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    status, out, err = run(*arguments)
    assert status == 1 and out == ""
    assert words in err and "Traceback" not in err


def test_an_error_is_data_for_programs(run: Any) -> None:
    status, out, _ = run("generate", "nothing", "--out", "a.png", "--json")
    assert status == 1 and json.loads(out)["error"]["code"] == "unknown_model"


# ------------------------------------------------------------------------------------------------------- camera paths


def test_a_camera_path_keeps_poses_and_field_of_view(tmp_path: Path) -> None:
    first, second = read_camera_path(camera_path(tmp_path))
    assert (first.width, first.height) == (60, 40)
    assert math.isclose(2 * math.atan(20 / first.intrinsics[1][1]), math.radians(45))
    assert np.array(first.world_from_camera)[:3, 2].tolist() == [0, 1, 0]  # looks along +Y
    assert np.array(first.world_from_camera)[:3, 1].tolist() == [0, 0, -1]  # its down is the world's
    assert second.world_from_camera[0][3] == 0.2
    assert [c.width for c in read_camera_path(tmp_path / "camera_path.json", 30)] == [30, 30]


def test_a_keyframe_matrix_is_read_as_rows_or_as_a_column_major_string() -> None:
    matrix = np.array([[1, 0, 0, 5], [0, 0, -1, 6], [0, 1, 0, 7], [0, 0, 0, 1]], float)
    rows = world_from_camera(matrix.tolist())
    assert world_from_camera(matrix.reshape(-1).tolist()) == rows
    assert world_from_camera(json.dumps(matrix.T.reshape(-1).tolist())) == rows
    assert world_from_camera(matrix[:3].tolist()) == rows
    assert world_from_camera((matrix @ np.diag([2, 3, 4, 1])).tolist()) == rows


def test_transforms_json_gives_each_frame_its_own_intrinsics(tmp_path: Path) -> None:
    Pillow.new("RGB", (80, 60)).save(tmp_path / "0.png")
    matrix = np.eye(4).tolist()
    data = {
        "camera_angle_x": 0.8,
        "frames": [
            {"file_path": "./0", "transform_matrix": matrix},
            {"file_path": "1", "transform_matrix": matrix, "w": 30, "h": 20, "fl_x": 25.0, "fl_y": 24.0,
             "cx": 14.0, "cy": 9.0},
        ],
    }  # fmt: skip
    (tmp_path / "transforms.json").write_text(json.dumps(data))
    first, second = read_camera_path(tmp_path / "transforms.json")
    assert (first.width, first.height) == (80, 60)
    assert math.isclose(first.intrinsics[0][0], 40 / math.tan(0.4))
    assert second.intrinsics == ((25.0, 0.0, 14.0), (0.0, 24.0, 9.0), (0.0, 0.0, 1.0))


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", "[" * 200_000, '{"camera_path": ["a", "b"]}', '{"path": [{"R": 1}]}',
        '{"frames": []}', '{"frames": [{}]}', '{"frames": [1]}', '{"frames": 3}',
        '{"camera_path": [{"fov": 1}]}',
        '{"camera_angle_x": 0.8, "frames": [{"transform_matrix": [[1, 2], [3, 4]]}]}',
        '{"camera_angle_x": 0.8, "frames": [{"transform_matrix": [[0,0,0,0],[0,0,0,0],[0,0,0,0],[0,0,0,1]]}]}',
        '{"fl_x": 8, "w": -3, "h": 3, "frames": [{"transform_matrix": [[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}]}',
        '{"frames": [{"transform_matrix": [[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]}]}',
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_camera_path_is_an_error_with_a_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "path.json"
    path.write_text(text)
    with pytest.raises(UnreadableFile, match=r"path\.json"):
        read_camera_path(path)


def test_a_byte_order_mark_is_skipped_and_utf_16_is_named(tmp_path: Path) -> None:
    path = camera_path(tmp_path)
    text, cameras = path.read_text(), read_camera_path(path)
    path.write_text(text, encoding="utf-8-sig")
    assert read_camera_path(path) == cameras
    path.write_text(text, encoding="utf-16")
    with pytest.raises(UnreadableFile, match="UTF-16"):
        read_camera_path(path)


def test_a_name_in_place_of_a_camera_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "path.json").write_text('{"camera_path": ["camera 1"]}')
    with pytest.raises(UnreadableFile, match=r"frame 0 is a text where a camera \(camera_to_world, fov\) is wanted"):
        read_camera_path(tmp_path / "path.json")


def test_a_path_has_the_lenses_that_a_data_set_has(tmp_path: Path) -> None:
    captures.transforms(tmp_path, 3, top={"fl_x": 10.0, "camera_model": "OPENCV_FISHEYE", "k1": 0.1, "cx": 5.0})
    file = tmp_path / "transforms.json"
    for camera, view in zip(read_camera_path(file), read_cameras(file), strict=True):
        assert camera.lens == view.lens == Lens("fisheye", (0.1, 0.0, 0.0, 0.0))
        read = from_wire(camera)
        assert torch.equal(read.intrinsics, view.camera.intrinsics) and read.lens == view.lens
        assert torch.allclose(read.rays().directions, view.camera.rays().directions, atol=1e-6)


def test_a_path_of_nerfstudio_s_viewer_is_brought_to_the_frame_of_its_data_set(tmp_path: Path) -> None:
    """nerfstudio's frame is scale · (transform @ world)."""
    path = camera_path(tmp_path)
    cameras = read_camera_path(path)
    box: Any = SimpleNamespace(bounds=((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)), pose_prior=SimpleNamespace(radius=3.0))
    turn = Rotation.from_euler("xyz", (20, 50, 100), degrees=True).as_matrix()
    transform, scale = np.concatenate((turn, [[3.0], [-4.0], [5.0]]), 1), 0.125
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps({"transform": transform.tolist(), "scale": scale}))
    assert in_frame_of_scene(cameras, path, box) == (cameras, [])  # they see the scene as they stand
    data = json.loads(path.read_text())
    for entry in data["camera_path"]:
        matrix = np.array(entry["camera_to_world"]).reshape(4, 4)
        moved = np.concatenate((transform, [[0, 0, 0, 1]])) @ matrix
        moved[:3, 3] *= scale
        entry["camera_to_world"] = moved.reshape(-1).tolist()
    path.write_text(json.dumps(data))
    found, (note,) = in_frame_of_scene(read_camera_path(path), path, box)
    assert "nerfstudio's frame" in note
    for one, other in zip(found, cameras, strict=True):
        assert np.allclose(one.world_from_camera, other.world_from_camera, atol=1e-9)
    elsewhere = (tmp_path / "dataparser_transforms.json").rename(tmp_path / "elsewhere.json")
    assert in_frame_of_scene(read_camera_path(path), path, box, elsewhere) == (found, [])
    _, (note,) = in_frame_of_scene(read_camera_path(path), path, box)
    assert "--dataparser-transforms" in note


def test_a_keyframe_of_instant_ngp_is_in_its_unit_cube(tmp_path: Path) -> None:
    """Position · scale + offset, axes in the order y, z, x, OpenCV camera axes: a camera at (0, −3, 0) that looks along
    +y stands at (−3 · 0.33 + 0.5, 0.5, 0.5) there and looks along +x."""
    columns = np.array([[0, 0, 1], [0, -1, 0], [1, 0, 0]], float)  # right: world x; down: −z; forward: y
    key = {"R": Rotation.from_matrix(columns).as_quat().tolist(), "T": [-3 * 0.33 + 0.5, 0.5, 0.5], "fov": 45.0}
    (tmp_path / "base_cam.json").write_text(json.dumps({"path": [key], "time": 1.0}))
    (camera,) = read_camera_path(tmp_path / "base_cam.json")
    expected = np.array([[1, 0, 0, 0], [0, 0, 1, -3], [0, -1, 0, 0], [0, 0, 0, 1]], float)
    assert np.allclose(camera.world_from_camera, expected, atol=1e-9)
    assert math.isclose(2 * math.atan(256 / camera.intrinsics[1][1]), math.radians(45))


def test_a_lens_is_rendered_as_one_and_has_no_light_beyond_its_reach(run: Any, tmp_path: Path) -> None:
    matrix = [[1, 0, 0, 0], [0, 0, -1, -1.5], [0, 1, 0, 0], [0, 0, 0, 1]]
    top = {"w": 40, "h": 40, "fl_x": 12.0, "camera_model": "OPENCV", "k1": -0.3}
    (tmp_path / "path.json").write_text(json.dumps(top | {"frames": [{"transform_matrix": matrix}]}))
    (camera,) = read_camera_path(tmp_path / "path.json")
    scene = Ball()
    image = render_scene(scene, from_wire(camera), silent)
    assert valid_pixels(from_wire(camera)) is not None
    assert image.alpha[0, 0] == 0 and image.alpha[20, 20] == 1 and torch.isinf(image.depth[0, 0])
    scene.info = replace(scene.info, image_space=True)
    with pytest.raises(NotSupported, match="pinhole"):
        render_scene(scene, from_wire(camera), silent)


class Ball:
    """A scene that is opaque everywhere."""

    def __init__(self) -> None:
        self.info = FieldInfo("density", 1.0, ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))

    def render(self, camera: Camera, **_: Any) -> Image:
        ones = torch.ones(camera.height, camera.width)
        return Image(torch.ones(*ones.shape, 3), ones, ones)


def test_a_depth_image_without_its_camera_is_refused(run: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", np.ones((40, 60), np.float32))
    status, _, err = run("complete", "shapes", tmp_path / "depth.npy", "--out", tmp_path / "whole.ply")
    assert status == 1 and "--camera" in err


def test_a_depth_image_becomes_points_at_its_depth_with_free_space_in_front(tmp_path: Path) -> None:
    depth = np.full((40, 60), np.inf, np.float32)
    depth[10:30, 20:40] = 2.5
    np.save(tmp_path / "depth.npy", depth)
    scan = read_scan(tmp_path / "depth.npy", camera_path(tmp_path))
    assert scan.points.shape == (400, 3) and scan.origins is not None
    assert np.allclose(scan.points[:, 1], -0.5, atol=1e-5)  # the camera stands at y = -3 and looks along +y
    assert np.allclose(scan.origins, [-0.2, -3.0, 0.0], atol=1e-6)


def test_a_device_that_is_not_here_is_a_sentence(run: Any, tmp_path: Path) -> None:
    status, _, err = run("generate", "shapes", "--device", "nonsense", "--out", tmp_path / "x.png")
    assert status == 1 and "nonsense" in err and "fastest" in err
