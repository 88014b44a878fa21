"""Structure from motion, on photographs of a made-up place with known cameras."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter

from addon.wire.errors import Cancelled, CannotWrite, LatheError, UnreadableFile, UnusableDataset
from backend.nerf.datasets import open_dataset
from backend.nerf.datasets.images import read_size
from backend.nerf.sfm import reconstruction as sfm
from backend.nerf.sfm import solver as sfm_solver
from backend.nerf.sfm.options import SfmOptions
from backend.nerf.sfm.photographs import copy_photographs, sample_frames, sharpness_of
from backend.nerf.sfm.upright import DISTANCE, upright
from backend.progress import silent
from tests.backend.nerf import photographs

pytestmark = pytest.mark.slow

COUNT = 16
TURNS = 0.75  # of the way round
DISTORTION = 0.05  # from the distorted to the straight radius: a barrel
ONE_THREAD = SfmOptions(threads=1, max_features=1500)


def aligned(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return (rotation errors in degrees, position errors in metres, scale) after the best similarity (Umeyama)."""
    x, y = found[:, :3, 3], truth[:, :3, 3]
    x0, y0 = x - x.mean(0), y - y.mean(0)
    u, d, vt = np.linalg.svd(y0.T @ x0 / len(x))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float((d * np.diag(sign)).sum() / x0.var(0).sum())
    positions = np.linalg.norm(scale * x0 @ rotation.T - y0, axis=-1)
    between = np.einsum("nji,njk->nik", rotation @ found[:, :3, :3], truth[:, :3, :3])
    cosine = (np.trace(between, axis1=1, axis2=2) - 1) / 2
    return np.degrees(np.arccos(cosine.clip(-1, 1))), positions, scale


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """Photographs with their true cameras; one more of something else, and one of the true ones blurred."""
    folder = tmp_path_factory.mktemp("photos")
    poses = photographs.orbit_poses(COUNT, turns=TURNS)
    paths = photographs.take(folder, poses, distortion=DISTORTION)
    with Image.open(paths[5]) as image:
        blurred = image.filter(ImageFilter.GaussianBlur(1.3))
    blurred.save(paths[5], quality=95)
    noise = np.random.default_rng(3).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).filter(ImageFilter.GaussianBlur(0.8)).save(folder / "other.jpg")
    return folder, poses


@pytest.fixture(scope="module")
def solved(
    photos: tuple[Path, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> tuple[sfm.Reconstruction, list[float]]:
    fractions: list[float] = []
    out = tmp_path_factory.mktemp("solved") / "set"
    result = sfm.reconstruct(photos[0], out, ONE_THREAD, lambda fraction, *_, **__: fractions.append(fraction))
    return result, fractions


def found_and_true(result: sfm.Reconstruction, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    views = [view for view in result.dataset.views if "IMG" in view.name]
    index = [int(view.name.split("IMG_")[1][:3]) for view in views]
    return np.stack([view.camera.world_from_camera.double().numpy() for view in views]), truth[index]


def test_cameras_come_back_up_to_a_similarity(
    solved: tuple[sfm.Reconstruction, list[float]], photos: tuple[Path, np.ndarray]
) -> None:
    """Measured: sharp pictures to 0.23°, the blurred one to 0.49°; positions to 0.7 % of the distance of 2.4 m."""
    found, truth = found_and_true(solved[0], photos[1])
    assert len(found) == COUNT
    rotations, positions, _ = aligned(found, truth)
    assert np.delete(rotations, 5).max() < 0.4 and rotations[5] < 1.0
    assert positions.max() < 0.012 * 2.4


def test_focal_length_and_distortion_come_back(solved: tuple[sfm.Reconstruction, list[float]]) -> None:
    view = solved[0].dataset.views[0]
    assert view.camera.intrinsics[0, 0].item() == pytest.approx(photographs.FOCAL, rel=0.01)
    assert view.lens.model == "opencv" and view.lens.k[0] == pytest.approx(-DISTORTION, abs=0.01)


def test_the_world_is_upright_centred_and_to_scale(
    solved: tuple[sfm.Reconstruction, list[float]], photos: tuple[Path, np.ndarray]
) -> None:
    found, truth = found_and_true(solved[0], photos[1])
    rotation = found[0, :3, :3] @ truth[0, :3, :3].T  # of the true world in the found one
    assert np.degrees(np.arccos(rotation[2, 2])) < 1.0
    distances = np.linalg.norm(found[:, :3, 3], axis=-1)
    assert np.median(distances) == pytest.approx(DISTANCE, rel=0.02)
    assert np.abs(found[0, :3, 3] / distances[0] - [0, -1, 0])[0] < 0.01 and found[0, 1, 3] < 0
    scale = aligned(found, truth)[2]
    middle = truth[0, :3, 3] - scale * rotation.T @ found[0, :3, 3]  # the found origin in the true world
    assert np.linalg.norm(middle - [0, 0, 0.3]) < 0.05


def test_sparse_points_lie_on_the_box_and_the_ground(
    solved: tuple[sfm.Reconstruction, list[float]], photos: tuple[Path, np.ndarray]
) -> None:
    found, truth = found_and_true(solved[0], photos[1])
    rotation, scale = found[0, :3, :3] @ truth[0, :3, :3].T, aligned(found, truth)[2]
    points, colors = solved[0].dataset.points, solved[0].dataset.point_colors
    assert points is not None and colors is not None and len(points) == len(colors) > 300
    true = scale * (points - found[0, :3, 3]) @ rotation + truth[0, :3, 3]
    outside = np.maximum(np.abs(true - [0, 0, photographs.HALF[2]]) - photographs.HALF, 0)
    distance = np.minimum(np.abs(true[:, 2]), np.linalg.norm(outside, axis=-1))
    assert np.quantile(distance, 0.9) < 0.03
    assert colors.std() > 20


def test_the_data_set_opens_by_itself_and_keeps_the_inverse(solved: tuple[sfm.Reconstruction, list[float]]) -> None:
    folder = solved[0].dataset.folder
    dataset = open_dataset(folder)
    assert dataset.format == "nerfstudio" and dataset.warnings == ()
    assert len(dataset.load_all(dataset.views)) == len(dataset.views) and len(dataset.split("test")) == 2
    assert not list(folder.parent.glob(".*")) and "images/other.jpg" not in {view.name for view in dataset.views}
    top = json.loads((folder / "transforms.json").read_text())
    there, back = np.array(top["world_from_reconstruction"]), np.array(top["reconstruction_from_world"])
    assert np.allclose(there @ back, np.eye(4), atol=1e-9)
    assert np.allclose(there, solved[0].world_from_reconstruction)
    assert top["health"]["posed"] == COUNT


def test_the_report_says_what_is_lost_and_what_is_blurred(solved: tuple[sfm.Reconstruction, list[float]]) -> None:
    report = solved[0].report
    assert (report.images, report.posed, report.models) == (COUNT + 1, COUNT, 1)
    assert report.mean_reprojection_error < 0.6 and report.points_per_image > 50
    assert report.largest_gap_degrees == pytest.approx(360 * (1 - TURNS) + 360 * TURNS / COUNT, abs=3)
    assert report.up_from == "level cameras"
    assert [image.name for image in report.per_image if not image.posed] == ["other.jpg"]
    blur, gap = report.advice
    assert "other.jpg" not in blur and "IMG_005.jpg" in blur and "steady hand" in blur
    assert "a gap of 107°" in gap and "Walk all the way round" in gap
    json.dumps(report.to_dict())


def test_progress_only_grows(solved: tuple[sfm.Reconstruction, list[float]]) -> None:
    fractions = solved[1]
    assert fractions == sorted(fractions) and fractions[0] == 0 and 0.9 < fractions[-1] <= 1


@pytest.mark.parametrize("stage", ["Reading photograph 3", "Finding features", "Matching images"])
def test_cancel_leaves_nothing_behind(photos: tuple[Path, np.ndarray], tmp_path: Path, stage: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for index in range(6):
        shutil.copy(photos[0] / f"IMG_{index:03d}.jpg", source)
    wanted = (stage, "Placing cameras")  # a short stage may pass between two looks

    def cancel(fraction: float, text: str = "", *_: object, **__: object) -> None:
        if text.startswith(wanted):
            raise Cancelled

    with pytest.raises(Cancelled):
        sfm.reconstruct(source, tmp_path / "out", ONE_THREAD, cancel)
    assert list(tmp_path.iterdir()) == [source]


def refused(source: Path, out: Path, kind: type[LatheError] = UnusableDataset) -> str:
    with pytest.raises(kind) as caught:
        sfm.reconstruct(source, out, ONE_THREAD)
    return caught.value.message


def test_pictures_that_share_nothing_are_a_sentence(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for index in range(4):
        noise = np.random.default_rng(index).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((240, 180)).save(source / f"{index}.png")
    message = refused(source, tmp_path / "out")
    assert "No cameras could be found from 4 images" in message and "overlap by two thirds" in message
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_solver_that_dies_is_a_sentence(
    photos: tuple[Path, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sfm_solver, "START", "import os; os.abort()")
    message = refused(photos[0], tmp_path / "out")
    assert "ended early" in message and "too little memory" in message
    assert list(tmp_path.iterdir()) == []


def test_the_solver_ends_with_its_parent(photos: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    names = sorted(path.name for path in photos[0].iterdir())
    work = sfm_solver.Work(str(tmp_path), str(photos[0]), names, False, False, True, 320, 1500, 1, 3)
    (tmp_path / "task.json").write_text(work.text())
    command = [sys.executable, "-I", "-c", sfm_solver.START, str(sfm_solver.ROOT), str(tmp_path / "task.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        assert b"features" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(5) == 1


def test_too_few_none_damaged_and_an_out_that_is_there(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    assert "holds no photographs. Give a folder of JPEG" in refused(source, tmp_path / "out")
    assert "There is no folder or video" in refused(tmp_path / "nowhere", tmp_path / "out", UnreadableFile)
    (source / "IMG_1.HEIC").touch()
    assert "save them as JPEG" in refused(source, tmp_path / "out")
    photographs.take(source, photographs.orbit_poses(2))
    assert "2 photographs are too few" in refused(source, tmp_path / "out")
    assert "IMG_000.jpg is one image" in refused(source / "IMG_000.jpg", tmp_path / "out")
    (source / "x.jpg").write_bytes((source / "IMG_000.jpg").read_bytes()[:4000])
    assert "x.jpg cannot be read" in refused(source, tmp_path / "out", UnreadableFile)
    (source / "film.mp4").write_bytes(b"no film")
    assert "cannot be read as a video" in refused(source / "film.mp4", tmp_path / "out", UnreadableFile)
    assert "not empty" in refused(source, source, CannotWrite)


def test_photographs_are_taken_upright_small_and_by_camera(tmp_path: Path) -> None:
    source, images = tmp_path / "source", tmp_path / "images"
    source.mkdir()
    images.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:, :60] = 255
    Image.fromarray(pixels).save(source / "turned.jpg", exif=exif)
    Image.fromarray(pixels).save(source / "plain.jpg")
    Image.fromarray(pixels).save(source / "plain.webp")
    Image.fromarray(pixels).resize((240, 160)).save(source / "large.png")
    found = copy_photographs(source, images, SfmOptions(max_size=120), silent).sharpness
    sizes = {name: read_size(images / name)[0] for name in found}
    assert {name.split("/")[1]: size for name, size in sizes.items()} == {
        "turned.jpg": (80, 120),
        "plain.jpg": (120, 80),
        "plain_1.jpg": (120, 80),
        "large.jpg": (120, 80),
    }
    assert len({name.split("/")[0] for name in found}) == 2  # two shapes: two cameras
    assert (images / next(n for n in found if n.endswith("/plain.jpg"))).read_bytes() == (
        source / "plain.jpg"
    ).read_bytes()


def test_photographs_below_the_folder_are_used_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    source, images = tmp_path / "source", tmp_path / "images"
    images.mkdir()
    for name in (
        "a.jpg",
        "left/a.jpg",
        "left/b.jpg",
        "right/a.jpg",
        "right/deep/a.jpg",
        "masks/a.png",
        "images_2/a.jpg",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40), "red").save(source / name)
    (source / "left/broken.jpg").write_bytes((source / "a.jpg").read_bytes()[:200])
    (source / "right/phone.heic").touch()
    gathered = copy_photographs(source, images, SfmOptions(), silent)
    assert len(gathered.sharpness) == 5
    assert len({name.split("/")[0] for name in gathered.sharpness}) == 4  # a camera for each folder
    heic, broken = gathered.warnings
    assert "6 of 7 photographs" in heic and "HEIC" in heic
    assert "5 of 6 photographs" in broken and "broken.jpg" in broken
    few = copy_photographs(source, images, SfmOptions(max_images=3), silent)
    assert "3 of 6 photographs are used, taken evenly" in few.warnings[1]


@pytest.mark.parametrize("out", ["DATASET", "./x", "a/b"])
def test_relative_paths_reach_the_solver_as_absolute_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    """It runs in a folder of its own; and before Python 3.12 a temporary folder in a relative one is relative, too."""
    (tmp_path / "PHOTOS").mkdir()
    for index in range(3):
        Image.new("RGB", (60, 40)).save(tmp_path / f"PHOTOS/{index}.jpg")
    monkeypatch.chdir(tmp_path)
    seen: list[Path] = []

    def solve(work: Path, images: Path, *_: Any) -> None:
        seen.extend((work, images))
        raise Cancelled

    monkeypatch.setattr(sfm, "solve", solve)
    with pytest.raises(Cancelled):
        sfm.reconstruct(Path("PHOTOS"), Path(out), SfmOptions())
    assert all(path.is_absolute() for path in seen) and [path.name for path in tmp_path.iterdir()] == ["PHOTOS"] + (
        ["a"] if out == "a/b" else []
    )


def test_a_photograph_of_many_megapixels_is_scaled_down_as_any_other(tmp_path: Path) -> None:
    source, images = tmp_path / "source", tmp_path / "images"
    source.mkdir()
    images.mkdir()
    Image.new("L", (16320, 11200)).save(source / "phone.png", compress_level=1)
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (400, 300)).save(source / name)
    gathered = copy_photographs(source, images, SfmOptions(max_size=100), silent)
    assert {read_size(images / name)[0] for name in gathered.sharpness} == {(100, 69), (100, 75)}
    assert gathered.warnings == ()


def test_of_a_video_the_sharpest_frames_are_taken(tmp_path: Path) -> None:
    """Every fifth frame is sharp, the others blurred; each stretch of five gives its sharp one."""
    pose = photographs.orbit_poses(1)[0]
    sharp = Image.fromarray(photographs.photograph(pose))
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.width, stream.height, stream.bit_rate = 320, 240, 8_000_000
        for index in range(30):
            image = sharp if index % 5 == 2 else sharp.filter(ImageFilter.GaussianBlur(2))
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode())
    images = tmp_path / "images"
    images.mkdir()
    found = sample_frames(tmp_path / "film.mp4", images, SfmOptions(max_images=6), silent).sharpness
    assert len(found) == 6
    blurred = sharpness_of(sharp.filter(ImageFilter.GaussianBlur(2)))
    assert min(found.values()) > 3 * blurred
    assert sorted(path.name for path in images.iterdir()) == sorted(found)


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_cameras_that_all_look_one_way_take_up_from_themselves(tilt: float) -> None:
    """Four pictures from a slider: their x axes are parallel and define no plane."""
    poses = np.tile(np.eye(4), (4, 1, 1))
    c, s = np.cos(tilt), np.sin(tilt)
    poses[:, :3, :3] = [[1, 0, 0], [0, s, c], [0, -c, s]]  # OpenCV axes, level, looking along +Y
    poses[:, 0, 3] = np.arange(4)
    matrix, up_from = upright(poses, np.array([[1.5, 5.0, 0.0]]))
    assert up_from == "mean camera up"
    assert matrix[2, :3] / np.linalg.norm(matrix[2, :3]) == pytest.approx([0, -s, c], abs=1e-6)
