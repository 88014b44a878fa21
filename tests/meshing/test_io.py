"""Export and import: axes, scale, colours and texture come back; a failure leaves nothing."""

from __future__ import annotations

import json
import os
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image

from meshing import (
    CannotRead,
    CannotWrite,
    Mesh,
    UnknownFormat,
    export_mesh,
    import_mesh,
    read_mesh,
    read_points,
    smooth_normals,
)

VERTICES = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)  # 1 m wide, 2 m deep, 3 m tall
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
COLORS = np.array([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [128, 64, 32, 255]], np.uint8)


def plain() -> Mesh:
    return Mesh(VERTICES, FACES)


def coloured() -> Mesh:
    return Mesh(VERTICES, FACES, colors=COLORS)


def textured() -> Mesh:
    """Each face shows one quarter of the texture: red, green (above), blue, white (below)."""
    texture = np.full((8, 8, 4), 255, np.uint8)
    texture[:4, :4, :3], texture[:4, 4:, :3], texture[4:, :4, :3] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    quarter = np.array([[0.1, 0.1], [0.4, 0.1], [0.1, 0.4]], np.float32)
    starts = np.array([[0, 0.5], [0.5, 0.5], [0, 0], [0.5, 0]], np.float32)
    return smooth_normals(Mesh(VERTICES, FACES, uvs=quarter + starts[:, None], texture=texture))


def same_surface(one: Mesh, other: Mesh) -> bool:
    """Equal up to the order of vertices: the same corners, face by face."""
    return np.allclose(one.corners, other.corners, atol=1e-6)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
@pytest.mark.parametrize("make", [plain, coloured, textured])
def test_a_mesh_comes_back_with_its_axes_scale_and_faces(tmp_path, suffix, make):
    mesh = make()
    path = tmp_path / f"a mesh{suffix}"
    assert export_mesh(mesh, path)[-1] == path
    back = import_mesh(path)
    assert same_surface(back, mesh)
    assert back.volume == pytest.approx(1.0)
    assert back.is_closed


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
@pytest.mark.parametrize("up", ["Y", "Z"])
def test_the_up_axis_can_be_chosen_and_read(tmp_path, suffix, up):
    path = tmp_path / f"mesh{suffix}"
    export_mesh(plain(), path, up=up)
    raw = trimesh.load(path, process=False)
    assert np.allclose(raw.bounds[1] - raw.bounds[0], [1, 3, 2] if up == "Y" else [1, 2, 3])
    assert same_surface(import_mesh(path, up=up), plain())


def test_glb_is_y_up_metres_and_not_mirrored(tmp_path):
    export_mesh(plain(), tmp_path / "mesh.glb")
    raw = trimesh.load(tmp_path / "mesh.glb", process=False).to_mesh()
    assert np.allclose(raw.vertices[3], [0, 3, 0])  # the tip is up
    assert np.allclose(raw.vertices[2], [0, 0, -2])  # what is behind in Z-up is at -Z
    assert raw.volume == pytest.approx(1.0)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_vertex_colours_come_back(tmp_path, suffix):
    export_mesh(coloured(), tmp_path / f"mesh{suffix}")
    raw = trimesh.load(tmp_path / f"mesh{suffix}", process=False)
    raw = raw.to_mesh() if isinstance(raw, trimesh.Scene) else raw
    if suffix == ".glb":  # linear in the file, as the standard asks
        return
    assert np.abs(raw.visual.vertex_colors[:, :3].astype(int) - COLORS[:, :3]).max() <= 1
    assert np.abs(import_mesh(tmp_path / f"mesh{suffix}").colors[:, :3].astype(int) - COLORS[:, :3]).max() <= 1


def glb_parts(path):
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and size % 4 == 0
    start = 20 + size
    binary_size, kind = struct.unpack_from("<I4s", data, start)
    assert kind == b"BIN\0" and start + 8 + binary_size == len(data)
    return json.loads(data[20:start]), data[start + 8 :]


def glb_array(document, binary, number):
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    dtype = {5126: "<f4", 5125: "<u4", 5123: "<u2"}[accessor["componentType"]]
    assert view["byteOffset"] % 4 == 0
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[accessor["type"]]
    return np.frombuffer(binary, dtype, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)


def test_glb_colours_are_linear_and_its_bounds_are_those_of_its_positions(tmp_path):
    export_mesh(coloured(), tmp_path / "mesh.glb")
    document, binary = glb_parts(tmp_path / "mesh.glb")
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    colors = glb_array(document, binary, attributes["COLOR_0"]) / 65535
    assert colors[3, 0] == pytest.approx(0.21586, abs=1e-4)  # sRGB 128 / 255
    positions = glb_array(document, binary, attributes["POSITION"])
    assert document["accessors"][attributes["POSITION"]]["max"] == positions.max(0).tolist()
    assert document["materials"][0]["pbrMetallicRoughness"]["metallicFactor"] == 0


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_each_face_shows_its_own_part_of_the_texture(tmp_path, suffix):
    mesh = textured()
    files = export_mesh(mesh, tmp_path / f"mesh{suffix}")
    assert len(files) == (3 if suffix == ".obj" else 1)
    back = import_mesh(tmp_path / f"mesh{suffix}")
    assert np.array_equal(back.texture, mesh.texture)
    assert np.allclose(back.uvs, mesh.uvs, atol=1e-6)
    u, v = back.uvs.mean(1).T
    seen = back.texture[((1 - v) * 8).astype(int), (u * 8).astype(int), :3]
    assert seen.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]


def test_an_obj_names_its_material_and_image_beside_it(tmp_path):
    files = export_mesh(textured(), tmp_path / "my chair.obj")
    assert sorted(file.name for file in files) == ["my chair.obj", "my_chair.mtl", "my_chair.png"]
    assert "mtllib my_chair.mtl" in files[-1].read_text()
    with Image.open(tmp_path / "my_chair.png") as picture:
        assert picture.size == (8, 8)


def test_ply_is_binary_little_endian_with_red_green_blue_uchar(tmp_path):
    export_mesh(coloured(), tmp_path / "mesh.ply")
    header = (tmp_path / "mesh.ply").read_bytes().split(b"end_header\n")[0].decode()
    assert "format binary_little_endian 1.0" in header
    assert "property uchar red\nproperty uchar green\nproperty uchar blue\n" in header
    assert "alpha" not in header


def test_normals_are_turned_with_the_mesh(tmp_path):
    mesh = smooth_normals(plain())
    export_mesh(mesh, tmp_path / "mesh.glb")
    document, binary = glb_parts(tmp_path / "mesh.glb")
    normals = glb_array(document, binary, document["meshes"][0]["primitives"][0]["attributes"]["NORMAL"])
    assert np.allclose(normals, np.stack([mesh.normals[:, 0], mesh.normals[:, 2], -mesh.normals[:, 1]], 1), atol=1e-6)


@pytest.mark.parametrize("name", ["mesh.fbx", "mesh", "mesh.usd", ".obj.txt"])
def test_an_unknown_ending_is_named_with_those_that_work(tmp_path, name):
    with pytest.raises(UnknownFormat, match=r"\.glb"):
        export_mesh(plain(), tmp_path / name)
    with pytest.raises(UnknownFormat, match=r"\.glb"):
        import_mesh(tmp_path / name)
    with pytest.raises(UnknownFormat, match="Y-up"):
        export_mesh(plain(), tmp_path / "mesh.glb", up="Z")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_a_folder_that_is_not_there_is_an_error_that_says_so(tmp_path, suffix):
    with pytest.raises(CannotWrite, match="cannot be written"):
        export_mesh(plain(), tmp_path / "none" / f"mesh{suffix}")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "mesh.obj"
    path.write_text("the old file")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match="No space left"):
        export_mesh(textured(), path)
    assert path.read_text() == "the old file"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb"])
def test_cancelling_an_export_leaves_nothing(tmp_path, suffix):
    class Stop(Exception):
        pass

    seen = []
    export_mesh(textured(), tmp_path / f"mesh{suffix}", progress=lambda f, t: seen.append(f))
    assert seen == sorted(seen) and seen[-1] == 1
    for file in tmp_path.iterdir():
        file.unlink()
    for stop in range(len(seen)):
        count = 0

        def progress(fraction, text, stop=stop):
            nonlocal count
            if count == stop:
                raise Stop
            count += 1

        with pytest.raises(Stop):
            export_mesh(textured(), tmp_path / f"mesh{suffix}", progress=progress)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".glb", ".stl", ".off"])
@pytest.mark.parametrize("content", [b"", b"garbage \x00\xff" * 50])
def test_a_file_that_is_not_a_mesh_is_an_error_that_says_so(tmp_path, suffix, content):
    path = tmp_path / f"mesh{suffix}"
    path.write_bytes(content)
    with pytest.raises(CannotRead, match="cannot be read as a mesh"):
        import_mesh(path)


def test_relative_indices_of_obj_count_back_from_the_last_vertex_so_far(tmp_path):
    body = "v {0} 0 0\nv {1} 0 0\nv {0} 2 0\nv {0} 0 3\nvt 0 0\n{2}\n"
    plain = ["f 1/1 3/1 2/1", "f 1/1 2/1 4/1", "f 1/1 4/1 3/1", "f 2/1 3/1 4/1"]
    faces = ["\n".join(plain)]
    faces.append("\n".join(" ".join(["f", *(f"{int(c.split('/')[0]) + 4}/2" for c in f.split()[1:])]) for f in plain))
    back = "\n".join(" ".join(["f", *(f"{int(c.split('/')[0]) - 5}/-1" for c in f.split()[1:])]) for f in plain)
    (tmp_path / "absolute.obj").write_text("".join(body.format(2 * k, 2 * k + 1, faces[k]) for k in (0, 1)))
    (tmp_path / "relative.obj").write_text("".join(body.format(2 * k, 2 * k + 1, back) for k in (0, 1)))
    one, other = (import_mesh(tmp_path / f"{name}.obj") for name in ("absolute", "relative"))
    assert same_surface(one, other) and other.volume == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("extension", "said"),
    [
        ("KHR_draco_mesh_compression", "Draco-compressed"),
        ("EXT_meshopt_compression", "meshopt-compressed"),
        ("X_new", "X_new"),
    ],
)
def test_gltf_that_needs_what_is_not_read_is_named(tmp_path, capfd, extension, said):
    path = export_mesh(plain(), tmp_path / "mesh.glb")[-1]
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length]) | {"extensionsRequired": ["KHR_materials_unlit", extension]}
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    path.write_bytes(data[:12] + struct.pack("<I", len(text)) + b"JSON" + text + data[20 + length :])
    with pytest.raises(CannotRead, match=said):
        import_mesh(path)
    assert capfd.readouterr() == ("", "")


def test_vertices_that_are_not_finite_are_left_out_with_their_faces(tmp_path):
    bad = np.concatenate((VERTICES, np.full((2, 3), np.nan, np.float32)))
    faces = np.concatenate((FACES, [[0, 1, 4]])).astype(np.int32)
    for kept, notes in ((FACES, 0), (faces, 1)):
        trimesh.Trimesh(bad, kept, process=False).export(tmp_path / "mesh.ply")
        read = read_mesh(tmp_path / "mesh.ply")
        assert same_surface(read.mesh, plain()) and len(read.mesh.vertices) == 4 and len(read.notes) == notes


def test_a_mesh_far_from_the_origin_keeps_its_digits(tmp_path):
    far = np.array([431250.25, 4582300.5, 120.0])
    for suffix in (".obj", ".ply"):
        path = tmp_path / f"mesh{suffix}"
        rows = VERTICES + far
        if suffix == ".obj":  # Y up
            lines = [f"v {x} {z} {-y}" for x, y, z in rows] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in FACES]
            path.write_text("\n".join(lines))
        else:
            header = "ply\nformat ascii 1.0\nelement vertex 4\n" + "".join(f"property double {a}\n" for a in "xyz")
            header += "element face 4\nproperty list uchar int vertex_indices\nend_header\n"
            faces = "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES)
            path.write_text(header + "".join(f"{x} {y} {z}\n" for x, y, z in rows) + faces)
        read = read_mesh(path)
        assert np.abs(read.mesh.corners + (np.array(read.offset) - far) - VERTICES[FACES]).max() < 1e-5
        assert "far from the origin" in read.notes[0]
        assert np.abs(read_points(path) - rows).max() < 1e-6


def test_points_have_the_axes_of_their_format(tmp_path):
    (tmp_path / "cloud.obj").write_text("v 1 2 3\nv nan 0 0\n")
    assert np.array_equal(read_points(tmp_path / "cloud.obj"), [[1, -3, 2], [np.nan] * 3], equal_nan=True)
    for suffix in (".obj", ".ply", ".glb"):
        export_mesh(plain(), tmp_path / f"mesh{suffix}")
        assert np.allclose(np.unique(read_points(tmp_path / f"mesh{suffix}"), axis=0), np.unique(VERTICES, axis=0))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_nothing_but_regular_files_in_the_folder_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.obj")
    with pytest.raises(CannotRead, match="pipe"):
        import_mesh(tmp_path / "pipe.obj")
    export_mesh(textured(), tmp_path / "mesh.obj")
    (tmp_path / "mesh.png").unlink()
    os.mkfifo(tmp_path / "mesh.png")
    assert import_mesh(tmp_path / "mesh.obj").texture is None


@pytest.mark.parametrize("data", [b"version https://git-lfs.github.com/spec/v1\n", b"PK\3\4", b"<!DOCTYPE html>"])
def test_a_file_that_is_something_else_is_named(tmp_path, data):
    (tmp_path / "mesh.obj").write_bytes(data * 3)
    with pytest.raises(CannotRead, match=r"Git LFS pointer|ZIP|web page"):
        import_mesh(tmp_path / "mesh.obj")
    glb = export_mesh(plain(), tmp_path / "mesh.glb")[-1]
    with pytest.raises(CannotRead, match="GLB file, whatever its name says"):
        import_mesh(glb.rename(tmp_path / "mesh.ply"))


def test_a_file_that_is_not_there_cannot_be_read(tmp_path):
    with pytest.raises(CannotRead, match=r"none\.ply"):
        import_mesh(tmp_path / "none.ply")


def test_an_stl_is_welded_to_a_closed_mesh(tmp_path):
    trimesh.Trimesh(VERTICES, FACES, process=False).export(tmp_path / "mesh.stl")
    mesh = import_mesh(tmp_path / "mesh.stl")
    assert len(mesh.vertices) == 4
    assert mesh.is_closed
