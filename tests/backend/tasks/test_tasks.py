"""Render, generate, mesh, complete and fit, without a service."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from addon.wire import payload
from addon.wire.errors import (
    BlobMissing,
    Cancelled,
    InternalError,
    InvalidRequest,
    LatheError,
    MalformedPayload,
    NoSurface,
    NotSupported,
    OutOfMemory,
    UnknownModel,
    UnreadableFile,
    UnreadableModel,
)
from addon.wire.messages import (
    Camera,
    CodeBlob,
    CompleteRequest,
    FitShapeRequest,
    GenerateRequest,
    Latent,
    MeshBlob,
    MeshRequest,
    RenderRequest,
    ScanBlob,
    SceneRef,
)
from backend.cameras import orbit
from backend.progress import silent
from backend.service import tasks
from backend.tasks.complete import complete, measured
from backend.tasks.fit_shape import fit_shape
from backend.tasks.generate import generate
from backend.tasks.mesh import mesh
from backend.tasks.render import render
from backend.tasks.workspace import Workspace
from meshing.mesh import Mesh
from tests.backend.fixtures import shapes


@pytest.fixture
def workspace(data: Path, shapes_model: str) -> Workspace:
    return Workspace("cpu")


def view(workspace: Workspace, size: int = 48) -> Camera:
    return orbit(workspace.generator("shapes").info, size)


def count_synthesis(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    original = shapes.ShapesGenerator.synthesize
    monkeypatch.setattr(
        shapes.ShapesGenerator, "synthesize", lambda self, *a, **k: (calls.append(a), original(self, *a, **k))[1]
    )
    return calls


class CancelAfter:
    """Progress that cancels at its n-th call, and counts."""

    def __init__(self, calls: float = float("inf")) -> None:
        self.left, self.count, self.fractions, self.texts = calls, 0, [], set[str]()

    def __call__(
        self, fraction: float, text: str = "", preview: np.ndarray | None = None, *, figures: object = None
    ) -> None:
        self.count += 1
        self.left -= 1
        self.fractions.append(fraction)
        self.texts.add(text)
        if self.left < 0:
            raise Cancelled


# ------------------------------------------------------------------------------------------------------------ render


def test_a_render_has_colour_alpha_depth_and_normals_of_the_shape(workspace: Workspace) -> None:
    result = render(RenderRequest(SceneRef("shapes"), view(workspace), with_normal=True), silent, workspace)
    hit = result.rgba[..., 3] > 0.5
    assert result.rgba.dtype == result.depth.dtype == np.float32
    assert hit.any() and not hit.all() and np.isfinite(result.depth[hit]).all() and np.isinf(result.depth[~hit]).all()
    assert 1.5 < result.depth[hit].min() < 3
    assert result.normal is not None
    np.testing.assert_allclose(np.linalg.norm(result.normal[hit], axis=-1), 1, atol=1e-4)
    assert result.seconds > 0
    payload.unpack(payload.pack(result))


def test_a_moved_camera_does_not_synthesise_again_and_another_latent_does(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_synthesis(monkeypatch)
    info = workspace.generator("shapes").info
    for azimuth in (0.0, 0.5, 1.0):
        render(RenderRequest(SceneRef("shapes"), orbit(info, 16, azimuth=azimuth)), silent, workspace)
    assert len(calls) == 1
    for latent in (Latent(seed_a=1), Latent(seed_a=1, truncation_psi=0.5), Latent(seed_a=1)):
        render(RenderRequest(SceneRef("shapes", latent), orbit(info, 16)), silent, workspace)
    assert len(calls) == 3
    workspace.unload()
    render(RenderRequest(SceneRef("shapes", Latent(seed_a=1)), orbit(info, 16)), silent, workspace)
    assert len(calls) == 4


def test_a_scene_that_was_moved_with_the_camera_looks_the_same(workspace: Workspace) -> None:
    camera = view(workspace)
    move = np.eye(4)
    move[:3, 3] = (3, -2, 1)
    moved_camera = Camera(
        tuple(map(tuple, (move @ np.array(camera.world_from_camera)).tolist())), camera.intrinsics, 48, 48
    )
    placed = SceneRef("shapes", world_from_scene=tuple(map(tuple, move.tolist())))
    first = render(RenderRequest(SceneRef("shapes"), camera), silent, workspace)
    second = render(RenderRequest(placed, moved_camera), silent, workspace)
    np.testing.assert_allclose(first.rgba, second.rgba, atol=0.02)


def test_a_model_that_was_imported_again_is_loaded_again(workspace: Workspace) -> None:
    first = workspace.generator("shapes")
    assert workspace.generator("shapes") is first
    folder = workspace.folder("shapes")
    shapes.write(folder)
    assert workspace.generator("shapes") is not first


def test_what_is_unknown_or_out_of_range_is_a_sentence(workspace: Workspace) -> None:
    camera = view(workspace, 8)
    with pytest.raises(UnknownModel, match="shapes"):
        render(RenderRequest(SceneRef("nothing"), camera), silent, workspace)
    with pytest.raises(InvalidRequest, match="delay"):
        render(RenderRequest(SceneRef("shapes", controls={"speed": 1.0}), camera), silent, workspace)
    with pytest.raises(InvalidRequest, match="between 0 and 60"):
        render(RenderRequest(SceneRef("shapes", controls={"delay": 61.0}), camera), silent, workspace)
    with pytest.raises(BlobMissing):
        render(RenderRequest(SceneRef("shapes", Latent(code="a" * 64)), camera), silent, workspace)
    shapes.break_card(workspace.folder("shapes"))
    with pytest.raises(UnreadableModel, match="colour"):
        Workspace("cpu").generator("shapes")
    assert [(broken.name, broken.error.code) for broken in workspace.models().broken] == [
        ("shapes", "unreadable_model")
    ]


def test_a_stored_code_stands_in_for_the_seed_and_a_wrong_one_is_refused(workspace: Workspace) -> None:
    generator = workspace.generator("shapes")
    ws = generator.mapping(generator.sample_z(7))[0].numpy()
    camera = view(workspace)

    def with_code(array: np.ndarray) -> Any:
        code = workspace.blobs.put(payload.pack(CodeBlob(array)), keep=True)
        return render(RenderRequest(SceneRef("shapes", Latent(code=code)), camera), silent, workspace)

    seeded = render(RenderRequest(SceneRef("shapes", Latent(seed_a=7)), camera), silent, workspace)
    np.testing.assert_array_equal(with_code(ws).rgba, seeded.rgba)
    with pytest.raises(InvalidRequest, match="another model"):
        with_code(np.zeros((3, 4), np.float32))
    with pytest.raises(MalformedPayload):
        with_code(np.full((2, 4), np.nan, np.float32))
    other = workspace.blobs.put(payload.pack(ScanBlob(np.zeros((2, 3), np.float32))))
    with pytest.raises(MalformedPayload, match="ScanBlob"):
        render(RenderRequest(SceneRef("shapes", Latent(code=other)), camera), silent, workspace)


def test_a_size_that_cannot_fit_is_refused_before_the_start_with_one_that_fits(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workspace, "free_memory", lambda self: 200 << 20)
    calls = count_synthesis(monkeypatch)
    for request in (
        RenderRequest(SceneRef("shapes"), view(workspace, 8192)),
        MeshRequest(SceneRef("shapes"), resolution=1024),
        MeshRequest(SceneRef("shapes"), resolution=64, color="texture", texture_size=8192),
    ):
        with pytest.raises(OutOfMemory) as caught:
            (render if isinstance(request, RenderRequest) else mesh)(request, silent, workspace)  # type: ignore[operator]
        remedy = caught.value.remedy
        assert remedy is not None and remedy.action == "lower_resolution" and isinstance(remedy.value, int)
    assert calls == []
    assert mesh(MeshRequest(SceneRef("shapes"), resolution=remedy.value // 8), silent, workspace).faces.size


# ---------------------------------------------------------------------------------------------------- generate, mesh


def test_a_sheet_has_one_image_for_each_latent_and_shows_them_on_the_way(workspace: Workspace) -> None:
    previews = []

    def progress(fraction: float, text: str = "", preview: np.ndarray | None = None, *, figures: object = None) -> None:
        if preview is not None:
            previews.append(preview)

    request = GenerateRequest("shapes", tuple(Latent(seed_a=n) for n in range(4)), size=24)
    sheet = generate(request, progress, workspace)
    assert sheet.images.shape == (4, 24, 24, 4) and sheet.images.dtype == np.uint8
    assert len({image.tobytes() for image in sheet.images}) == 4
    assert [hashlib.sha256(p).digest() for p in previews] == [hashlib.sha256(i).digest() for i in sheet.images[:3]]


def test_a_sheet_is_made_with_the_sliders_of_the_model(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError, match="as the test asked"):
        generate(GenerateRequest("shapes", (Latent(),), 16, controls={"fail": 2.0}), silent, workspace)
    with pytest.raises(InvalidRequest, match="no control 'puff'"):
        generate(GenerateRequest("shapes", (Latent(),), 16, controls={"puff": 1.0}), silent, workspace)


def test_a_mesh_is_the_closed_surface_in_the_scene_s_own_frame(workspace: Workspace) -> None:
    moved = SceneRef(
        "shapes", Latent(seed_a=2), world_from_scene=((2, 0, 0, 5), (0, 2, 0, 5), (0, 0, 2, 5), (0, 0, 0, 1))
    )
    result = mesh(MeshRequest(moved, resolution=48), silent, workspace)
    made = Mesh(result.vertices, result.faces, result.normals, result.colors)
    assert made.is_closed and made.volume > 0 and made.euler_number in (0, 2)
    assert np.abs(result.vertices).max() < 1
    scene = workspace.scene(SceneRef("shapes", Latent(seed_a=2)))
    assert scene.field(torch.from_numpy(result.vertices.copy())).value.abs().max() < 0.01
    assert result.normals is not None and result.colors is not None
    expected = scene.field(torch.zeros(1, 3)).rgb
    assert expected is not None
    np.testing.assert_allclose(result.colors[0, :3] / 255, expected[0].numpy(), atol=0.01)
    outward = (result.normals * made.vertices).sum(-1)
    assert result.iso_level == 0.0 and np.isfinite(outward).all()
    payload.unpack(payload.pack(result))


def test_a_mesh_is_reduced_textured_and_grows_with_the_level(workspace: Workspace) -> None:
    small = mesh(MeshRequest(SceneRef("shapes"), resolution=32, color="none", smooth_normals=False), silent, workspace)
    large = mesh(MeshRequest(SceneRef("shapes"), resolution=32, iso_level=0.05), silent, workspace)
    assert small.normals is None and small.colors is None
    assert Mesh(large.vertices, large.faces).volume > Mesh(small.vertices, small.faces).volume
    request = MeshRequest(SceneRef("shapes"), resolution=32, target_faces=500, color="texture", texture_size=64)
    textured = mesh(request, silent, workspace)
    assert len(textured.faces) <= 510
    assert textured.uvs is not None and textured.uvs.shape == (len(textured.faces), 3, 2)
    assert textured.texture is not None and textured.texture.shape == (64, 64, 4)


def test_a_level_without_a_surface_says_which_would_have_one(workspace: Workspace) -> None:
    request = MeshRequest(SceneRef("shapes"), resolution=16, iso_level=-5.0)
    with pytest.raises(NoSurface) as caught:
        tasks.run("mesh", request, silent, workspace)
    remedy = caught.value.remedy
    assert remedy is not None and remedy.action == "set_level" and isinstance(remedy.value, float)
    again = MeshRequest(SceneRef("shapes"), resolution=16, iso_level=remedy.value)
    assert len(tasks.run("mesh", again, silent, workspace).faces)


@pytest.mark.parametrize(
    ("task", "request_"),
    [
        ("generate", GenerateRequest("shapes", tuple(Latent(seed_a=n) for n in range(3)), size=16)),
        ("mesh", MeshRequest(SceneRef("shapes"), resolution=24, target_faces=300)),
    ],
)
def test_work_can_be_cancelled_at_every_report(workspace: Workspace, task: str, request_: Any) -> None:
    counter = CancelAfter()
    tasks.run(task, request_, counter, workspace)
    assert counter.count > 10
    assert counter.fractions == sorted(counter.fractions) and counter.fractions[-1] <= 1
    for calls in sorted({0, 1, 2, *np.linspace(3, counter.count - 1, 8).astype(int).tolist()}):
        workspace.unload()
        with pytest.raises(Cancelled):
            tasks.run(task, request_, CancelAfter(calls), workspace)


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (OSError(28, "No space left on device", "/models/x"), "cannot_write"),
        (NoSurface("none"), "no_surface"),
    ],
)
def test_what_is_to_be_expected_of_a_task_becomes_a_sentence(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: str
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise raised

    monkeypatch.setattr(shapes.ShapesScene, "render", fail)
    with pytest.raises(LatheError) as caught:
        tasks.run("render", RenderRequest(SceneRef("shapes"), view(workspace)), silent, workspace)
    assert caught.value.code == code
    if code == "out_of_memory":
        assert caught.value.remedy is not None and caught.value.remedy.value == 24


def test_a_fault_of_ours_is_not_hidden(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes.ShapesScene, "render", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tasks.run("render", RenderRequest(SceneRef("shapes"), view(workspace)), silent, workspace)
    assert not issubclass(ZeroDivisionError, InternalError)


# ------------------------------------------------------------------------------------------------- complete, fit_shape


def box_mesh() -> MeshBlob:
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32) * (0.6, 0.4, 1.0)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))]
    return MeshBlob(corners.astype(np.float32), np.array(triangles, np.int32))


def test_a_mesh_becomes_a_model_that_meshes_back_to_it(workspace: Workspace) -> None:
    blob = workspace.blobs.put(payload.pack(box_mesh()))
    counter = CancelAfter()
    result = fit_shape(FitShapeRequest("box", blob, steps=60), counter, workspace)
    assert result.name == "box" and counter.count > 5 and result.notes == ()
    info = next(info for info in workspace.models().models if info.name == "box")
    assert info.source == "trained" and info.capabilities == ()
    made = mesh(MeshRequest(SceneRef("box"), resolution=32), silent, workspace)
    size = np.ptp(made.vertices, axis=0)
    np.testing.assert_allclose(size, (0.6, 0.4, 1.0), atol=0.12)
    np.testing.assert_allclose(made.vertices.min(0), 0.0, atol=0.08)  # where it was, not about the origin
    with pytest.raises(NotSupported):
        complete(CompleteRequest("box", blob), silent, workspace)
    fit_shape(FitShapeRequest("box", blob, steps=1), silent, workspace)  # fitted again under its own name


def test_a_mesh_that_is_inside_out_is_turned_and_said_to_be_and_its_offset_is_kept(workspace: Workspace) -> None:
    given = box_mesh()
    flipped = MeshBlob(given.vertices, given.faces[:, ::-1].copy(), (431250.0, 4582300.0, 0.0))
    blob = workspace.blobs.put(payload.pack(flipped))
    result = fit_shape(FitShapeRequest("box", blob, steps=60), silent, workspace)
    assert "inside out" in result.notes[0]
    card = workspace.card("box")
    assert "inside out" in card.card and card.offset == [431250.0, 4582300.0, 0.0]
    made = mesh(MeshRequest(SceneRef("box"), resolution=32), silent, workspace)
    assert Mesh(made.vertices, made.faces).volume == pytest.approx(0.24, abs=0.06)


def test_points_that_are_not_finite_are_left_out_of_a_scan_and_counted() -> None:
    points = np.random.default_rng(0).random((20, 3), np.float32)
    normals = points.copy()
    points[3, 1], normals[7, 0] = np.nan, np.inf
    kept, other, origins, (note,) = measured(ScanBlob(points, normals), torch.device("cpu"))
    assert len(kept) == 18 and other is not None and len(other) == 18 and origins is None
    assert note == "2 of 20 points of the scan are not finite, and were left out."
    for broken in (
        ScanBlob(np.array(1.0, np.float32)),
        ScanBlob(np.full((20, 3), np.nan, np.float32)),
        ScanBlob(points, normals[:3]),
        ScanBlob(np.zeros((20, 3), np.int32)),
    ):
        with pytest.raises(UnreadableFile):
            measured(broken, torch.device("cpu"))


def test_a_fit_never_replaces_a_model_that_was_not_fitted_and_a_cancelled_one_leaves_nothing(
    workspace: Workspace,
) -> None:
    blob = workspace.blobs.put(payload.pack(box_mesh()))
    with pytest.raises(InvalidRequest, match="another name"):
        fit_shape(FitShapeRequest("shapes", blob, steps=1), silent, workspace)
    with pytest.raises(Cancelled):
        fit_shape(FitShapeRequest("box", blob, steps=60), CancelAfter(4), workspace)
    assert [info.name for info in workspace.models().models if info.source == "trained"] == ["shapes"]


@pytest.mark.parametrize(
    "broken",
    [
        MeshBlob(np.zeros((3, 2), np.float32), np.zeros((1, 3), np.int32)),
        MeshBlob(np.full((3, 3), np.nan, np.float32), np.zeros((1, 3), np.int32)),
        MeshBlob(np.zeros((3, 3), np.float32), np.zeros((0, 3), np.int32)),
        MeshBlob(np.eye(3, dtype=np.float32), np.array([[0, 1, 3]], np.int32)),
        MeshBlob(np.eye(3, dtype=np.float32), np.array([[0, 1, -1]], np.int32)),
        MeshBlob(np.zeros((3, 3), np.float32), np.array([[0, 1, 2]], np.int32)),
        MeshBlob(np.outer([0, 1, 2], [1, 1, 1]).astype(np.float32), np.array([[0, 1, 2]], np.int32)),  # no area
        MeshBlob(np.eye(3, dtype=np.float32) * 3e38, np.array([[0, 1, 2]], np.int32)),
        MeshBlob(np.array(0.0, np.float32), np.array([[0, 1, 2]], np.int32)),
    ],
)
def test_a_mesh_that_is_none_is_refused_with_a_sentence(workspace: Workspace, broken: MeshBlob) -> None:
    blob = workspace.blobs.put(payload.pack(broken))
    with pytest.raises(UnreadableFile):
        fit_shape(FitShapeRequest("box", blob, steps=1), silent, workspace)


def test_only_a_family_of_shapes_completes_scans(workspace: Workspace) -> None:
    blob = workspace.blobs.put(payload.pack(ScanBlob(np.zeros((20, 3), np.float32))))
    with pytest.raises(NotSupported, match="DeepSDF"):
        complete(CompleteRequest("shapes", blob), silent, workspace)
