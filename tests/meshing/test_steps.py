"""Clean-up, decimation, normals, colours, UVs and bake."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from meshing import (
    CleanUp,
    InvalidField,
    InvalidMesh,
    Mesh,
    bake_texture,
    clean,
    component_labels,
    decimate,
    drop_degenerate,
    drop_small,
    extract_surface,
    field_normals,
    fill_holes,
    keep_largest,
    smooth_normals,
    unwrap_uvs,
    vertex_colors,
)
from meshing.bake import rasterize
from meshing.cleanup import boundary_loops, select_faces
from meshing.color import linear_from_srgb, srgb_from_linear
from tests.meshing.fields import BOX, box, sphere, torus


def gradient(points):
    """Colours that encode position: RGB 0..1 from x y z -1..1."""
    return points * 0.5 + 0.5


@pytest.fixture(scope="module")
def torus_mesh() -> Mesh:
    return extract_surface(torus(), BOX, 96, 0.0)


@pytest.fixture(scope="module")
def small() -> Mesh:
    return decimate(extract_surface(torus(), BOX, 64, 0.0), 1500)


@pytest.fixture(scope="module")
def unwrapped(small) -> Mesh:
    return unwrap_uvs(small, resolution=512)


def three_balls():
    balls = [sphere((-0.4, 0, 0), 0.5), sphere((0.5, 0, 0), 0.2), sphere((0.85, 0.5, 0.5), 0.06)]
    return extract_surface(lambda p: np.min([ball(p) for ball in balls], axis=0), BOX, 96, 0.0)


# clean-up


def test_components_are_counted_and_the_largest_is_kept():
    mesh = three_balls()
    assert component_labels(mesh).max() == 2
    largest = keep_largest(mesh)
    assert largest.is_closed and largest.euler_number == 2
    assert largest.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.01)


@pytest.mark.parametrize("measure", ["volume", "area", "faces"])
def test_floaters_below_a_fraction_are_dropped(measure):
    mesh = three_balls()
    assert component_labels(drop_small(mesh, 0.03, measure)).max() == 1
    assert component_labels(drop_small(mesh, 0.0, measure)).max() == 2
    assert component_labels(drop_small(mesh, 1.0, measure)).max() == 0


def test_dropped_components_take_their_vertices_and_attributes_along():
    mesh = vertex_colors(smooth_normals(three_balls()), gradient)
    largest = keep_largest(mesh)
    assert len(np.unique(largest.faces)) == len(largest.vertices)
    again = vertex_colors(largest, gradient)
    assert np.array_equal(largest.colors, again.colors)


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 500), min_size=1, max_size=60))
def test_any_set_of_missing_faces_is_filled_to_a_closed_mesh(missing):
    mesh = extract_surface(torus(), BOX, 24, 0.0)
    keep = np.ones(len(mesh.faces), bool)
    keep[list(missing)] = False
    torn = select_faces(mesh, keep)
    assert not torn.is_closed
    assert fill_holes(torn).is_closed


def test_filled_holes_keep_winding_and_colours(torus_mesh):
    coloured = vertex_colors(smooth_normals(torus_mesh), gradient)
    torn = select_faces(coloured, np.linalg.norm(coloured.corners[:, 0] - coloured.vertices[0], axis=1) > 0.1)
    assert len(boundary_loops(torn)) == 1
    filled = fill_holes(torn)
    assert filled.is_closed and filled.euler_number == 0
    assert filled.volume == pytest.approx(torus_mesh.volume, rel=2e-3)
    assert np.abs(filled.colors[-1, :3] / 255 - gradient(filled.vertices[-1])).max() < 0.05
    assert len(fill_holes(torn, max_edges=4).faces) == len(torn.faces)


def test_edges_of_no_length_are_contracted_and_the_mesh_stays_closed():
    mesh = extract_surface(box((0.5, 0.5, 0.25)), BOX, 65, 0.0)  # its sides lie on lattice planes
    clean_mesh = drop_degenerate(mesh)
    assert clean_mesh.is_closed and clean_mesh.euler_number == 2
    assert clean_mesh.volume == pytest.approx(mesh.volume)
    corners = clean_mesh.corners
    assert np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).min() > 1e-7
    doubled = extract_surface(sphere(radius=0.75), BOX, 65, 0.0)  # its poles are lattice points
    assert len(drop_degenerate(doubled).faces) < len(doubled.faces)
    assert drop_degenerate(doubled).euler_number == 2


def test_clean_does_all_steps_in_order():
    mesh = three_balls()
    keep = np.ones(len(mesh.faces), bool)
    keep[::997] = False
    result = clean(select_faces(mesh, keep), CleanUp(least_fraction=0.03))
    assert result.is_closed
    assert component_labels(result).max() == 1
    assert component_labels(clean(mesh, CleanUp(keep_largest=True))).max() == 0


# decimation


@pytest.mark.parametrize("target", [10000, 3000, 500])
def test_decimation_reaches_its_target_closed_and_close_to_the_shape(torus_mesh, target):
    mesh = decimate(torus_mesh, target)
    assert 0.9 * target <= len(mesh.faces) <= target * 1.02 + 4
    assert mesh.is_closed and mesh.euler_number == 0
    assert np.abs(torus()(mesh.vertices)).max() < 0.02
    assert mesh.volume == pytest.approx(torus_mesh.volume, rel=0.03)


def test_decimation_carries_colours_and_normals(torus_mesh):
    mesh = decimate(vertex_colors(smooth_normals(torus_mesh), gradient), 2000)
    assert np.abs(mesh.colors[:, :3] / 255 - gradient(mesh.vertices)).max() < 0.03
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_decimation_does_not_depend_on_scale_or_place(torus_mesh, scale):
    moved = Mesh(torus_mesh.vertices * scale + 3 * scale, torus_mesh.faces)
    mesh = decimate(moved, 1000)
    assert mesh.is_closed
    assert np.abs(torus()(mesh.vertices / scale - 3)).max() < 0.02


def test_fewer_faces_than_the_target_come_back_as_they_are(small):
    assert decimate(small, 10**6) is small


@pytest.mark.parametrize("target", [0, 3, -1, 2.5, "many", True])
def test_a_target_that_is_not_a_number_of_faces_is_refused(small, target):
    with pytest.raises(InvalidMesh, match="whole number"):
        decimate(small, target)


# normals and colours


def test_normals_of_faces_and_of_the_field_are_those_of_the_torus(torus_mesh):
    p = torus_mesh.vertices.astype(np.float64)
    ring = p * [1, 1, 0] / np.hypot(p[:, 0], p[:, 1])[:, None] * 0.6
    exact = (p - ring) / np.linalg.norm(p - ring, axis=1, keepdims=True)
    for mesh, least in (
        (field_normals(torus_mesh, torus()), 0.9999),
        (field_normals(torus_mesh, lambda p: -torus()(p), inside="positive"), 0.9999),
        (field_normals(torus_mesh, torus(), gradient=lambda p: exact * 7), 0.999999),
        (smooth_normals(torus_mesh), 0.995),
        (smooth_normals(torus_mesh, "area"), 0.98),
    ):
        assert (mesh.normals * exact).sum(1).min() > least


def test_a_vertex_without_faces_gets_a_unit_normal():
    mesh = smooth_normals(Mesh(np.eye(4, 3), np.array([[0, 1, 2]])))
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1)


def test_vertex_colours_are_those_of_their_points(small):
    mesh = vertex_colors(small, gradient, batch_size=100)
    assert np.array_equal(mesh.colors[:, :3], np.rint(gradient(small.vertices) * 255))
    assert (mesh.colors[:, 3] == 255).all()
    linear = vertex_colors(small, lambda p: linear_from_srgb(gradient(p)), encoding="linear")
    assert np.abs(linear.colors.astype(int) - mesh.colors).max() <= 1


def test_view_dependent_colours_look_at_the_surface_from_above():
    mesh = extract_surface(sphere(radius=0.5), BOX, 32, 0.0)
    coloured = vertex_colors(mesh, lambda p, d: -d * 0.5 + 0.5, along_normals=True)
    outward = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    assert np.abs(coloured.colors[:, :3] / 255 - gradient(outward)).max() < 0.08


@given(st.floats(0, 1))
def test_the_srgb_curve_and_its_inverse_agree(value):
    assert srgb_from_linear(linear_from_srgb(np.array([value])))[0] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("color", [lambda p: p[:, 0], lambda p: p[:-1], lambda p: p * np.nan])
def test_colours_of_a_wrong_shape_or_not_finite_are_refused(small, color):
    with pytest.raises(InvalidField, match="colour"):
        vertex_colors(small, color)


# UVs and bake


def test_uvs_lie_in_the_square_and_charts_do_not_overlap(small, unwrapped):
    assert np.array_equal(unwrapped.faces, small.faces)
    assert unwrapped.uvs.min() >= 0 and unwrapped.uvs.max() <= 1
    a, b, c = np.moveaxis(unwrapped.uvs.astype(np.float64), 1, 0)
    covered = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum() / 2
    _, _, weights = rasterize(unwrapped.uvs, 1024)
    inside = np.count_nonzero(weights.min(1) > 1e-6) / 1024**2
    assert covered > 0.3
    assert inside == pytest.approx(covered, rel=0.02)  # overlapping faces would cover fewer texels than their area


def test_a_hundred_thousand_faces_unwrap_in_seconds():
    mesh = extract_surface(torus(), BOX, 128, 0.0)
    start = time.monotonic()
    unwrap_uvs(mesh)
    assert time.monotonic() - start < 30  # as one part it takes minutes


def test_the_baked_texture_shows_the_field_everywhere_on_the_surface(unwrapped):
    size = 512
    mesh = bake_texture(unwrapped, gradient, size)
    rng = np.random.default_rng(0)
    weight = np.linalg.norm(mesh.face_normals_scaled, axis=1)
    faces = rng.choice(len(mesh.faces), 20000, p=weight / weight.sum())
    inside = rng.dirichlet([0.3] * 3, len(faces))  # many near edges and corners, where seams would be
    points = np.einsum("nk,nkc->nc", inside, mesh.corners[faces])
    u, v = np.einsum("nk,nkc->nc", inside, mesh.uvs[faces]).T
    place = [(1 - v) * size - 0.5, u * size - 0.5]
    seen = np.stack(
        [map_coordinates(mesh.texture[..., i].astype(float), place, order=1, mode="nearest") for i in range(3)], 1
    )
    assert np.abs(seen / 255 - gradient(points)).max() < 0.03


def test_a_gap_between_charts_is_filled_with_colours_of_the_surface(unwrapped):
    mesh = bake_texture(unwrapped, lambda p: np.ones((len(p), 3)) * [1, 0.5, 0.25], 64)
    assert (mesh.texture == [255, 128, 64, 255]).all()


@pytest.mark.parametrize("size", [1, 15, 10**6, 64.0, True])
def test_a_texture_size_out_of_range_is_refused(unwrapped, size):
    with pytest.raises(InvalidMesh, match="16 to 16384"):
        bake_texture(unwrapped, gradient, size)


def test_steps_after_the_uvs_say_what_must_come_first(small, unwrapped):
    with pytest.raises(InvalidMesh, match="no texture coordinates"):
        bake_texture(small, gradient)
    with pytest.raises(InvalidMesh, match="before the UVs"):
        decimate(unwrapped, 100)
    with pytest.raises(InvalidMesh, match="empty"):
        unwrap_uvs(Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)))


# all


class Stop(Exception):
    pass


STEPS = {
    "drop_degenerate": lambda m, u, p: drop_degenerate(m, progress=p),
    "keep_largest": lambda m, u, p: keep_largest(m, progress=p),
    "drop_small": lambda m, u, p: drop_small(m, 0.5, progress=p),
    "fill_holes": lambda m, u, p: fill_holes(select_faces(m, np.arange(len(m.faces)) > 50), progress=p),
    "clean": lambda m, u, p: clean(m, CleanUp(least_fraction=0.1), progress=p),
    "decimate": lambda m, u, p: decimate(m, 200, progress=p),
    "smooth_normals": lambda m, u, p: smooth_normals(m, progress=p),
    "field_normals": lambda m, u, p: field_normals(m, torus(), batch_size=500, progress=p),
    "vertex_colors": lambda m, u, p: vertex_colors(m, gradient, batch_size=500, progress=p),
    "unwrap_uvs": lambda m, u, p: unwrap_uvs(m, progress=p),
    "bake_texture": lambda m, u, p: bake_texture(u, gradient, 64, batch_size=500, progress=p),
}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_reports_rising_progress_and_can_be_cancelled(step, small, unwrapped, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = small.vertices.tobytes(), small.faces.tobytes()
    seen: list[float] = []
    STEPS[step](small, unwrapped, lambda f, t: seen.append(f))
    assert len(seen) >= 2 and seen == sorted(seen) and seen[0] >= 0 and seen[-1] == 1
    for stop in {0, len(seen) // 2}:
        count = 0

        def progress(fraction, text, stop=stop):
            nonlocal count
            if count == stop:
                raise Stop
            count += 1

        with pytest.raises(Stop):
            STEPS[step](small, unwrapped, progress)
    assert (small.vertices.tobytes(), small.faces.tobytes()) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["decimate", "unwrap_uvs", "bake_texture", "fill_holes"])
def test_the_same_input_gives_the_same_mesh(step, small, unwrapped):
    one, other = (STEPS[step](small, unwrapped, lambda f, t: None) for _ in range(2))
    for name in ("vertices", "faces", "uvs", "texture"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
