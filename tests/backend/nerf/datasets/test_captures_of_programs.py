"""Exports of Metashape, RealityCapture, Polycam and Record3D, written here after their documentation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from addon.wire.errors import LatheError, UnreadableFile
from backend.lens import pixels_of
from backend.nerf.datasets import Dataset, Lens, open_dataset
from tests.backend.nerf.datasets import captures
from tests.backend.nerf.datasets.captures import GL_FROM_CV, SIZE

Y_UP_FROM_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1.0]])
COUNT = 9


def poses_of(dataset: Dataset) -> np.ndarray:
    return np.array([view.camera.world_from_camera.double().numpy() for view in dataset.views])


def photographs(folder: Path, names: list[str]) -> None:
    for index, name in enumerate(names):
        captures.picture(folder / name, seed=index)


def metashape(folder: Path, *, sensor: str = "frame", placed: np.ndarray | None = None, extra: str = "") -> np.ndarray:
    """Write cameras.xml, chunk coordinates = inverse of `placed` (a similarity) of world ones."""
    poses = captures.orbit(COUNT)
    photographs(folder, [f"images/IMG_{index}.jpg" for index in range(COUNT)])
    similarity = np.eye(4) if placed is None else placed
    scale = np.cbrt(np.linalg.det(similarity[:3, :3]))
    rows = []
    for index, pose in enumerate(poses):
        local = np.linalg.inv(similarity) @ pose
        local[:3, :3] *= scale
        numbers = " ".join(map(repr, local.reshape(-1).tolist()))
        rows.append(f'<camera id="{index}" sensor_id="0" label="IMG_{index}"><transform>{numbers}</transform></camera>')
    rows.append('<camera id="90" sensor_id="0" label="IMG_90"/>')  # not aligned
    rotation = " ".join(map(repr, (similarity[:3, :3] / scale).reshape(-1).tolist()))
    translation = " ".join(map(repr, similarity[:3, 3].tolist()))
    transform = f"<transform><rotation>{rotation}</rotation><translation>{translation}</translation>"
    transform += f"<scale>{float(scale)!r}</scale></transform>" if placed is not None else "</transform>"
    (folder / "cameras.xml").write_text(
        f'<?xml version="1.0"?><document version="2.0.0"><chunk label="1"><sensors><sensor id="0" type="{sensor}">'
        f'<resolution width="{SIZE[0]}" height="{SIZE[1]}"/><calibration class="adjusted"><f>11.0</f><cx>0.5</cx>'
        f"<cy>-0.25</cy><k1>0.05</k1><k2>-0.01</k2>{extra}</calibration></sensor></sensors>"
        f"<cameras><group>{''.join(rows)}</group></cameras>{transform}</chunk></document>"
    )
    return poses


def test_metashape_s_cameras_have_its_formula(tmp_path: Path) -> None:
    extra = "<p1>0.002</p1><p2>-0.003</p2><b1>0.4</b1><b2>0.2</b2>"
    poses = metashape(tmp_path, extra=extra)
    dataset = open_dataset(tmp_path)
    assert dataset.format == "metashape" and np.allclose(poses_of(dataset), poses, atol=1e-6)
    assert "9 of 10 cameras" in dataset.warnings[0]
    camera = dataset.views[0].camera
    x, y = 0.3, -0.2  # after the manual's appendix
    r2 = x * x + y * y
    radial = 1 + 0.05 * r2 - 0.01 * r2 * r2
    bent_x = x * radial + 0.002 * (r2 + 2 * x * x) + 2 * -0.003 * x * y
    bent_y = y * radial + -0.003 * (r2 + 2 * y * y) + 2 * 0.002 * x * y
    expected = SIZE[0] / 2 + 0.5 + bent_x * 11 + bent_x * 0.4 + bent_y * 0.2, SIZE[1] / 2 - 0.25 + bent_y * 11
    found = pixels_of(camera.intrinsics.double(), camera.lens, torch.tensor([x, y, 1.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_metashape_s_chunk_is_placed_and_a_fisheye_is_one(tmp_path: Path) -> None:
    placed = np.eye(4)
    placed[:3, :3] = 2.5 * Rotation.from_euler("xyz", (20, 30, 40), degrees=True).as_matrix()
    placed[:3, 3] = (1.0, -2.0, 3.0)
    poses = metashape(tmp_path, sensor="equidistant_fisheye", placed=placed)
    dataset = open_dataset(tmp_path)
    assert np.allclose(poses_of(dataset), poses, atol=1e-5)
    assert dataset.views[0].lens == Lens("fisheye", (0.05, -0.01, 0.0, 0.0))


def test_geocentric_coordinates_have_the_earth_s_normal_up(tmp_path: Path) -> None:
    ecef = np.eye(4)
    ecef[:3, 3] = (4_198_000.0, 174_000.0, 4_781_000.0)
    up = ecef[:3, 3] / np.linalg.norm(ecef[:3, 3])
    ecef[:3, :3] = Rotation.align_vectors([up], [[0, 0, 1]])[0].as_matrix()
    chunk = captures.orbit(COUNT)
    metashape(tmp_path)
    text = (tmp_path / "cameras.xml").read_text()
    rotation, translation = (" ".join(map(repr, a.reshape(-1).tolist())) for a in (ecef[:3, :3], ecef[:3, 3]))
    start = text.index("<transform><rotation>")
    (tmp_path / "cameras.xml").write_text(
        f"{text[:start]}<transform><rotation>{rotation}</rotation><translation>{translation}</translation>"
        f"<scale>1</scale></transform></chunk></document>"
    )
    dataset = open_dataset(tmp_path)
    found = poses_of(dataset)
    assert np.allclose(found[:, 2, 3] - found[0, 2, 3], chunk[:, 2, 3] - chunk[0, 2, 3], atol=1e-3)  # heights
    assert any(dataset.offset) and any("taken off" in warning for warning in dataset.warnings)


@pytest.mark.parametrize("damage", ["<!DOCTYPE a [<!ENTITY b 'c'>]>", "<chunk", "<document><chunk"])
def test_a_damaged_xml_is_a_sentence(tmp_path: Path, damage: str) -> None:
    metashape(tmp_path)
    (tmp_path / "cameras.xml").write_text(f"{damage}<chunk>")
    with pytest.raises(UnreadableFile, match=r"cameras\.xml"):
        open_dataset(tmp_path)


def test_reality_capture_s_angles_and_millimetres(tmp_path: Path) -> None:
    """heading, pitch, roll of 0 look down, the top of the image to the north (+y); heading turns clockwise."""
    poses = captures.orbit(COUNT)
    photographs(tmp_path, [f"IMG_{index}.png" for index in range(COUNT)])
    lines = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for index, pose in enumerate(poses):
        turn = (pose @ GL_FROM_CV)[:3, :3]
        pitch = math.asin(turn[2, 1])
        heading, roll = math.atan2(turn[0, 1], turn[1, 1]), math.atan2(-turn[2, 0], turn[2, 2])
        angles = ",".join(repr(math.degrees(a)) for a in (heading, pitch, roll))
        lines.append(f"IMG_{index}.png,{','.join(map(repr, pose[:3, 3].tolist()))},{angles},30,1.5,-0.75,0.1,0,0,0,0,0")
    (tmp_path / "cameras.csv").write_text("\n".join(lines))
    dataset = open_dataset(tmp_path)
    assert dataset.format == "reality-capture" and np.allclose(poses_of(dataset), poses, atol=1e-5)
    assert dataset.views[0].camera.intrinsics.tolist() == [[10, 0, 6.5], [0, 10, 3.75], [0, 0, 1]]
    assert dataset.views[0].lens == Lens("opencv", (0.1, 0.0, 0.0, 0.0)) and dataset.warnings == ()
    (tmp_path / "cameras.csv").write_text("\n".join([lines[0], "IMG_0.png,1,2"]))
    with pytest.raises(LatheError, match="alt of"):
        open_dataset(tmp_path)


def test_polycam_s_keyframes_are_in_a_world_with_y_up(tmp_path: Path) -> None:
    poses = captures.orbit(COUNT)
    for index, pose in enumerate(poses):
        rows = (Y_UP_FROM_Z_UP @ pose @ GL_FROM_CV)[:3]
        camera = {f"t_{r}{c}": rows[r, c] for r in range(3) for c in range(4)}
        camera |= {"fx": 10.0, "fy": 11.0, "cx": 6.5, "cy": 3.75, "width": SIZE[0], "height": SIZE[1]}
        path = tmp_path / f"keyframes/corrected_cameras/{index}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(camera))
        captures.picture(tmp_path / f"keyframes/corrected_images/{index}.jpg", seed=index)
    dataset = open_dataset(tmp_path)
    assert dataset.format == "polycam" and np.allclose(poses_of(dataset), poses, atol=1e-6)
    assert dataset.views[0].camera.intrinsics.tolist() == [[10, 0, 6.5], [0, 11, 3.75], [0, 0, 1]]


@pytest.mark.parametrize("each", [True, False])
def test_record3d_s_poses_are_quaternions_and_its_k_is_by_columns(tmp_path: Path, each: bool) -> None:
    poses, rows = captures.orbit(COUNT), []
    for index, pose in enumerate(poses):
        turned = Y_UP_FROM_Z_UP @ pose @ GL_FROM_CV
        rows.append([*Rotation.from_matrix(turned[:3, :3]).as_quat(), *turned[:3, 3]])
        captures.picture(tmp_path / f"rgb/{index}.jpg", seed=index)
    data = {"w": SIZE[0], "h": SIZE[1], "K": [10.0, 0, 0, 0, 11.0, 0, 6.5, 3.75, 1], "poses": rows, "fps": 30}
    if each:
        data |= {"K": [1.0] * 9, "perFrameIntrinsicCoeffs": [[10.0, 11.0, 6.5, 3.75]] * COUNT}
    (tmp_path / "metadata.json").write_text(json.dumps(data))
    dataset = open_dataset(tmp_path)
    assert dataset.format == "record3d" and np.allclose(poses_of(dataset), poses, atol=1e-6)
    assert dataset.views[0].camera.intrinsics.tolist() == [[10, 0, 6.5], [0, 11, 3.75], [0, 0, 1]]
