"""extract_surface: equal to dense marching cubes, lean, closed, and clear about what it cannot do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from meshing import (
    EmptySurface,
    InvalidField,
    InvalidGrid,
    Lattice,
    LevelOutOfRange,
    MeshingError,
    extract_surface,
    grid,
)
from tests.meshing.fields import BOX, Counted, box, dense, density, double_torus, sphere, torus

SLOWER = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def thin_slabs(monkeypatch):
    """Slabs of four cells, so that small lattices have many borders."""
    monkeypatch.setattr(grid, "SLAB_POINTS", 1)


def assert_equals_dense(field, bounds, resolution, level=0.0, inside="negative", **options):
    mesh = extract_surface(field, bounds, resolution, level, inside=inside, **options)
    vertices, faces = dense(field, bounds, resolution, level, inside)
    assert np.array_equal(mesh.faces, faces)
    assert np.abs(mesh.vertices - vertices).max() <= 1e-4 * np.ptp(np.asarray(bounds), axis=0).max()
    return mesh


@pytest.mark.parametrize("resolution", [9, 32, 33, 50, 97, 128])
@pytest.mark.parametrize("shape", [sphere((0.013, 0.02, 0.03)), torus(), double_torus(), box((0.5, 0.5, 0.25))])
def test_sdf_mesh_has_the_vertices_and_faces_of_the_dense_run(shape, resolution):
    assert_equals_dense(shape, BOX, resolution)


@pytest.mark.parametrize("resolution", [64, 129])
@pytest.mark.parametrize("shape", [sphere((0.1, 0, 0), 0.5), torus(), double_torus()])
def test_density_mesh_has_the_vertices_and_faces_of_the_dense_run(shape, resolution):
    assert_equals_dense(density(shape), BOX, resolution, 10.0, "positive")


@SLOWER
@given(
    st.integers(0, 10**6),
    st.floats(0.25, 0.6),
    st.floats(0.05, 0.2),
    st.integers(20, 70),
    st.tuples(*[st.floats(-0.15, 0.15)] * 3),
)
def test_any_torus_anywhere_equals_the_dense_run_over_slab_borders(thin_slabs, seed, major, minor, resolution, centre):
    rotation = Rotation.random(random_state=seed).as_matrix()
    assert_equals_dense(torus(centre, major, minor, rotation), BOX, resolution)


@SLOWER
@given(st.tuples(*[st.floats(0.02, 0.9)] * 3), st.integers(10, 60))
def test_any_thin_box_equals_the_dense_run_or_neither_sees_it(thin_slabs, half, resolution):
    try:
        _, faces = dense(box(half), BOX, resolution, 0.0, "negative")
    except (RuntimeError, ValueError):
        with pytest.raises((EmptySurface, LevelOutOfRange)):
            extract_surface(box(half), BOX, resolution, 0.0)
        return
    mesh = extract_surface(box(half), BOX, resolution, 0.0)
    assert len(mesh.faces) == len(faces)
    assert mesh.is_closed and mesh.volume > 0


@pytest.mark.parametrize("resolution", [21, 64])
def test_bounds_that_are_not_a_cube_have_nearly_cubic_cells_that_fill_them(resolution, thin_slabs):
    bounds = [[-1.0, -0.5, -0.4], [2.0, 0.6, 0.5]]
    lattice = Lattice.in_bounds(bounds, resolution)
    assert lattice.cells.max() == resolution - 1
    assert np.allclose(lattice.points(lattice.cells), bounds[1])
    assert lattice.spacing.min() > 0.8 * lattice.spacing.max()
    mesh = assert_equals_dense(sphere((0.2, 0, 0), 0.35), bounds, resolution)
    assert mesh.is_closed


def test_a_lattice_of_two_points_works():
    mesh = extract_surface(lambda p: p[:, 0], BOX, 2, 0.0)
    assert len(mesh.faces) == 2
    assert np.allclose(mesh.vertices[:, 0], 0)


@pytest.mark.parametrize(
    ("shape", "euler"), [(sphere(), 2), (torus(), 0), (double_torus(), -2), (box((0.5, 0.3, 0.1)), 2)]
)
@pytest.mark.parametrize("inside", ["negative", "positive"])
def test_mesh_is_closed_faces_outwards_and_has_the_right_euler_number(shape, euler, inside):
    field = shape if inside == "negative" else (lambda p: -shape(p))
    mesh = extract_surface(field, BOX, 64, 0.0, inside=inside)
    assert mesh.is_closed
    assert mesh.euler_number == euler
    assert mesh.volume > 0


def test_sphere_mesh_has_volume_four_thirds_pi_r_cubed():
    mesh = extract_surface(sphere(radius=0.8), BOX, 256, 0.0)
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.8**3, rel=1e-3)


@pytest.mark.parametrize("search", [{"lipschitz": 1e3}, {"lipschitz": math.inf}, {"lipschitz": math.inf, "coarse": 8}])
@pytest.mark.parametrize("steps", [None, 4, 1000])
def test_noise_is_closed_even_where_values_hit_the_level(search, steps, thin_slabs):
    def noise(p):
        wave = np.sin(p.astype(np.float64) @ [127.1, 311.7, 74.7] * 40) * 43758.5453
        values = wave - np.floor(wave) - 0.5
        if steps:
            values = np.round(values * steps) / steps
        return np.where((np.abs(p) > 0.97).any(1), 0.5, values)

    assert extract_surface(noise, BOX, 40, 0.0, **search).is_closed


@pytest.mark.parametrize("factor", [0.2, 1.0, 3.0, 10.0])
def test_a_bound_too_small_leaves_no_hole(factor, thin_slabs):
    shape = torus()
    mesh = extract_surface(lambda p: factor * shape(p), BOX, 65, 0.0, lipschitz=0.3)
    assert mesh.is_closed
    assert mesh.euler_number == 0


def test_a_locally_steep_field_leaves_no_hole(thin_slabs):
    def bumpy(p):  # far steeper than the bound, on a scale that the first look cannot see
        return sphere(radius=0.6)(p) + np.float32(0.04) * np.sin(60 * p).prod(1)

    mesh = extract_surface(bumpy, BOX, 96, 0.0)
    assert mesh.is_closed
    assert_equals_dense(bumpy, BOX, 96, lipschitz=4.0)


def test_a_clamped_distance_gives_the_mesh_of_the_whole_one():
    shape = sphere((0.1, 0.05, 0), 0.7)
    clamped = Counted(lambda p: np.clip(shape(p), -0.1, 0.1))
    mesh = extract_surface(clamped, BOX, 128, 0.0, clamp=0.1)
    assert np.array_equal(mesh.faces, extract_surface(shape, BOX, 128, 0.0).faces)
    assert clamped.count < 0.1 * 128**3


@pytest.mark.parametrize("level", [-0.1, 0.05, 0.2])
def test_other_levels_give_offset_surfaces(level):
    mesh = extract_surface(sphere(radius=0.5), BOX, 96, level)
    assert np.allclose(np.linalg.norm(mesh.vertices, axis=1), 0.5 + level, atol=1e-3)


def test_few_points_are_evaluated_and_never_more_than_a_batch():
    field = Counted(sphere())
    extract_surface(field, BOX, 256, 0.0, batch_size=5000)
    assert field.count < 0.04 * 256**3
    assert field.largest <= 5000


@pytest.mark.parametrize("batch_size", [7, 1000, 1 << 20])
def test_the_batch_size_does_not_change_the_mesh(batch_size):
    one = extract_surface(torus(), BOX, 24, 0.0, batch_size=batch_size)
    other = extract_surface(torus(), BOX, 24, 0.0)
    assert np.array_equal(one.vertices, other.vertices)
    assert np.array_equal(one.faces, other.faces)


def test_slabs_do_not_change_the_mesh(monkeypatch):
    whole = extract_surface(double_torus(), BOX, 90, 0.0)
    monkeypatch.setattr(grid, "SLAB_POINTS", 1)
    sliced = extract_surface(double_torus(), BOX, 90, 0.0)
    assert np.array_equal(whole.faces, sliced.faces)
    assert np.array_equal(whole.vertices, sliced.vertices)


def test_the_same_input_gives_the_same_bytes():
    one, other = (extract_surface(density(torus()), BOX, 70, 10.0, inside="positive") for _ in range(2))
    assert one.vertices.tobytes() == other.vertices.tobytes()
    assert one.faces.tobytes() == other.faces.tobytes()


def test_a_surface_that_leaves_the_bounds_is_open_and_cap_closes_it():
    shape = sphere(radius=1.2)
    assert not extract_surface(shape, BOX, 64, 0.0).is_closed
    capped = extract_surface(shape, BOX, 64, 0.0, cap=True)
    assert capped.is_closed
    assert capped.euler_number == 2
    assert np.abs(capped.vertices).max() <= 1
    volume = 4 / 3 * math.pi * 1.2**3 - 6 * math.pi * 0.2**2 * (3 * 1.2 - 0.2) / 3  # less six caps
    assert capped.volume == pytest.approx(volume, rel=2e-3)


@pytest.mark.parametrize(("inside", "value"), [("negative", -1.0), ("positive", 5.0), ("negative", -1e-3)])
def test_cap_makes_a_full_box_of_a_field_that_is_inside_everywhere(inside, value):
    mesh = extract_surface(lambda p: np.full(len(p), value), BOX, 33, 0.0, inside=inside, cap=True)
    assert mesh.is_closed
    assert mesh.volume == pytest.approx(8.0, rel=0.01)


def test_a_thin_sheet_between_two_chambers_is_kept(thin_slabs):
    def field(p):  # a solid ball with a gap of zero width through a plane of lattice points
        return np.maximum(sphere(radius=0.7)(p), -np.abs(p[:, 0]))

    assert extract_surface(field, BOX, 65, 0.0).is_closed


@pytest.mark.parametrize("resolution", [1, 0, -5, 2.5, 64.0, "64", True, None])
def test_a_resolution_that_is_not_a_whole_number_from_two_is_refused(resolution):
    with pytest.raises(InvalidGrid, match="whole number of at least 2") as caught:
        extract_surface(sphere(), BOX, resolution, 0.0)
    assert caught.value.remedy["value"] == 128


@pytest.mark.parametrize(
    "bounds",
    [[[1, 1, 1], [-1, -1, -1]], [[0, 0, 0], [1, 0, 1]], [[0, 0, 0], [1, np.inf, 1]], [[np.nan] * 3, [1] * 3], [0, 1]],
)
def test_bounds_that_hold_nothing_are_refused(bounds):
    with pytest.raises(InvalidGrid, match="bounds"):
        extract_surface(sphere(), bounds, 32, 0.0)


@pytest.mark.parametrize(
    "options", [{"lipschitz": -1.0}, {"lipschitz": math.nan}, {"margin": -1}, {"batch_size": 0}, {"clamp": 0.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InvalidGrid):
        extract_surface(sphere(), BOX, 32, 0.0, **options)


@pytest.mark.parametrize(
    "field",
    [
        lambda p: np.zeros((len(p), 3)),
        lambda p: np.zeros(len(p) + 1),
        lambda p: 0.0,
        lambda p: np.full(len(p), "x"),
        lambda p: np.full(len(p), 1j),
    ],
)
@pytest.mark.parametrize("inside", ["negative", "positive"])
def test_a_field_of_the_wrong_shape_or_type_is_named(field, inside):
    with pytest.raises(InvalidField, match="one number for each point"):
        extract_surface(field, BOX, 32, 0.0, inside=inside)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_field_that_is_not_finite_is_named_with_its_place(bad):
    field = lambda p: np.where(p[:, 0] > 0.5, bad, sphere()(p))  # noqa: E731
    with pytest.raises(InvalidField, match="not finite"):
        extract_surface(field, BOX, 32, 0.0)


@pytest.mark.parametrize("level", [5.0, -3.0])
def test_a_level_out_of_range_names_the_range_and_a_level_that_works(level):
    with pytest.raises(LevelOutOfRange, match="lies between") as caught:
        extract_surface(sphere(), BOX, 48, level)
    low, high = caught.value.observed
    assert -0.81 < low < -0.6 and 0.8 < high < 0.94
    assert extract_surface(sphere(), BOX, 48, caught.value.remedy["value"]).is_closed


def test_a_constant_field_is_said_to_be_constant():
    with pytest.raises(LevelOutOfRange, match="everywhere"):
        extract_surface(lambda p: np.ones(len(p)), BOX, 32, 0.0)


def test_errors_are_value_errors():
    assert issubclass(MeshingError, ValueError)


class Stop(Exception):
    pass


@pytest.mark.parametrize("inside", ["negative", "positive"])
def test_progress_rises_and_may_cancel_at_any_call(inside):
    field = torus() if inside == "negative" else density(torus())
    level = 0.0 if inside == "negative" else 10.0
    seen: list[float] = []
    extract_surface(field, BOX, 48, level, inside=inside, progress=lambda f, t: seen.append(f))
    assert seen == sorted(seen) and seen[0] == 0 and seen[-1] == 1
    for stop in range(len(seen)):
        count = 0

        def progress(fraction, text, stop=stop):
            nonlocal count
            if count == stop:
                raise Stop
            count += 1

        with pytest.raises(Stop):
            extract_surface(field, BOX, 48, level, inside=inside, progress=progress)
