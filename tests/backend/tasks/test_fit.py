"""The task `fit`: pausing, resuming, crashes and errors. With a small network as published."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from addon.wire import payload
from addon.wire.errors import (
    BlobMissing,
    Cancelled,
    CannotWrite,
    Diverged,
    InvalidRequest,
    LatheError,
    OutOfMemory,
    UnknownModel,
    UnreadableFile,
    UnusableDataset,
)
from addon.wire.messages import DiscardFitRequest, FitRequest, MeshRequest, RenderRequest, SceneRef
from backend.camera_path import resized
from backend.cameras import Camera, orbit
from backend.models import scene_file
from backend.nerf import methods
from backend.nerf.datasets import open_dataset
from backend.nerf.fit import state as fit_state
from backend.nerf.mlp.trainer import NeRFTrainer
from backend.progress import silent
from backend.tasks import fit_run, fit_staging
from backend.tasks.fit import discard_fit, fit
from backend.tasks.mesh import mesh
from backend.tasks.render import render
from backend.tasks.workspace import Workspace
from tests.backend.fixtures import fits, photographed
from tests.backend.nerf.datasets import captures


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographed.write(tmp_path_factory.mktemp("images"), size=24, train=8, test=2)


@pytest.fixture
def workspace(data: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    fits.use(monkeypatch)
    for name in ("AUTOSAVE_SECONDS", "FIRST_SAVE_SECONDS"):  # a slow machine saves no more often than a fast one
        monkeypatch.setattr(fit_run, name, 1e9)
    return Workspace("cpu")


@pytest.fixture
def request_of(images: Path, workspace: Workspace) -> Callable[..., FitRequest]:
    files = fits.upload(images, workspace.blobs)
    return lambda name="chair", **changes: FitRequest(name, dict(files), fits.options(**{"steps": 12, **changes}))


class Stop:
    """Progress that cancels when the fit reaches a step, and records its reports."""

    def __init__(self, step: float = float("inf")) -> None:
        self.step, self.figures, self.images = step, list[dict[str, float]](), list[np.ndarray]()

    def __call__(
        self,
        fraction: float,
        text: str = "",
        preview: np.ndarray | None = None,
        *,
        figures: dict[str, float] | None = None,
    ) -> None:
        assert 0 <= fraction <= 1
        if preview is not None:
            self.images.append(preview)
        if figures is not None:
            self.figures.append(figures)
            if figures["step"] >= self.step:
                raise Cancelled


def state_of(name: str = "chair") -> Path:
    return fit_state.fits_folder() / name / fit_state.STATE_NAME


# ----------------------------------------------------------------------------------------------------- start and result


def test_a_fit_becomes_a_model_that_renders_and_its_result_says_how_good_it_is(
    workspace: Workspace, request_of: Any
) -> None:
    progress = Stop()
    result = fit(request_of(), progress, workspace)
    assert result.steps == 12 and result.seconds > 0 and result.warnings == ()
    assert result.psnr is not None and result.ssim is not None and 3 < result.psnr < 60 and -1 < result.ssim < 1
    assert result.world_from_camera.shape == (8, 4, 4) and len(result.view_names) == 8
    info = workspace.generator("chair").info
    assert info.quantity == "density" and info.source == "trained"
    assert info.pose_prior.radius == pytest.approx(photographed.RADIUS, rel=0.1)
    assert info.pose_prior.fov == pytest.approx(photographed.FOV, rel=0.01)
    image = render(RenderRequest(SceneRef("chair"), orbit(info, 16)), silent, workspace)
    assert image.rgba.shape == (16, 16, 4) and np.isfinite(image.rgba).all()
    payload.unpack(payload.pack(result))


def test_progress_carries_the_figures_of_the_fit(workspace: Workspace, request_of: Any) -> None:
    progress = Stop()
    fit(request_of(), progress, workspace)
    assert [figures["step"] for figures in progress.figures] == list(range(1, 13))
    for figures in progress.figures:
        assert {"loss", "train_psnr", "rays_per_second", "seconds", "seconds_left"} <= set(figures)
        assert figures["seconds_left"] >= 0 and figures["rays_per_second"] > 0
    assert progress.figures[-1]["seconds_left"] == 0


def test_a_fit_ends_after_its_seconds(workspace: Workspace, request_of: Any) -> None:
    result = fit(request_of(steps=0, seconds=0.3), silent, workspace)
    assert 0.3 <= result.seconds < 1.5 and result.steps > 0
    assert [stored.finished for stored in workspace.models().fits] == [True]


def test_the_cards_of_the_models_say_what_was_done(workspace: Workspace, request_of: Any) -> None:
    result = fit(request_of(), silent, workspace)
    card = workspace.generator("chair").info.card
    assert "12 steps" in card and f"{result.psnr:.2f} dB" in card


def test_while_it_runs_its_name_is_the_scene_as_it_stands(workspace: Workspace, request_of: Any) -> None:
    seen = []

    class Look(Stop):
        def __call__(self, *arguments: Any, **options: Any) -> None:
            super().__call__(*arguments, **options)
            if options.get("figures"):
                scene = workspace.scene(SceneRef("chair"))
                seen.append(float(scene.field(torch.tensor([[0.0, 0.0, -0.5]])).value.sum().detach()))

    fit(request_of(), Look(), workspace)
    assert len(set(seen)) > 6
    assert workspace.generator("chair").info.name == "chair"
    with pytest.raises(UnknownModel):
        workspace.scene(SceneRef("table"))


# ------------------------------------------------------------------------------------------------------ pause, go on


def test_a_paused_fit_goes_on_to_exactly_where_one_without_a_pause_comes(workspace: Workspace, request_of: Any) -> None:
    whole = fit(request_of("whole"), silent, workspace)
    with pytest.raises(Cancelled):
        fit(request_of("paused"), Stop(5), workspace)
    assert [(f.name, f.steps, f.finished) for f in workspace.models().fits] == [
        ("paused", 5, False),
        ("whole", 12, True),
    ]
    again = Stop()
    resumed = fit(FitRequest("paused", resume=True), again, workspace)
    assert again.figures[0]["step"] == 6 and resumed.steps == whole.steps
    one, other = load_file(state_of("whole")), load_file(state_of("paused"))
    assert one.keys() == other.keys()
    for name in one.keys() - {"progress"}:  # which holds seconds
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)
    assert resumed.psnr == pytest.approx(whole.psnr)


def test_a_fit_that_is_over_goes_on_when_more_is_asked_for(workspace: Workspace, request_of: Any) -> None:
    first = fit(request_of(), silent, workspace)
    more = fit(FitRequest("chair", options=fits.options(steps=15), resume=True), silent, workspace)
    assert (first.steps, more.steps) == (12, 15) and more.seconds > first.seconds
    assert fit(FitRequest("chair", resume=True), silent, workspace).steps == 15


@pytest.mark.parametrize("learnt", [False, True])
def test_a_fit_that_was_stored_before_appearances_had_a_choice_goes_on(
    workspace: Workspace, request_of: Any, learnt: bool
) -> None:
    """Then `exposure` was a switch, in the request as in the state."""
    with pytest.raises(Cancelled):
        fit(request_of(appearance="exposure" if learnt else "none"), Stop(5), workspace)
    state = state_of("chair")
    request = state.with_name("request.json")
    with safe_open(state, "pt") as file:
        metadata = file.metadata()
    options = json.loads(request.read_bytes())["options"]
    options["exposure"] = options.pop("appearance") == "exposure"
    request.write_text(json.dumps({**json.loads(request.read_bytes()), "options": options}))
    stored = {**json.loads(metadata["state"]), "options": options}
    scene_file.write_safetensors(state, load_file(state), {**metadata, "state": json.dumps(stored)})
    again = Stop()
    assert fit(FitRequest("chair", resume=True), again, workspace).steps == 12
    assert again.figures[0]["step"] == 6
    assert fit_state.read_state(state).options.appearance == ("exposure" if learnt else "none")


def test_it_is_saved_as_often_as_is_said_and_a_save_never_shows_half(
    workspace: Workspace, request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(fit_run, "AUTOSAVE_SECONDS", 0.0)
    original = fit_state.write_state

    def write(path: Path, state: Any, tensors: Any) -> None:
        original(path, state, tensors)
        saved.append(fit_state.read_state(path).step)
        assert [p.name for p in path.parent.glob(".*")] == []

    monkeypatch.setattr(fit_state, "write_state", write)
    fit(request_of(), silent, workspace)
    assert saved == [*range(1, 13), 12]


def test_a_disk_that_is_full_at_a_save_keeps_the_save_before(
    workspace: Workspace, request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Cancelled):
        fit(request_of(), Stop(3), workspace)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(scene_file.os, "replace", full)
        with pytest.raises(CannotWrite, match="full"):
            fit(FitRequest("chair", resume=True), silent, workspace)
    assert fit_state.read_state(state_of()).step == 3
    assert fit(FitRequest("chair", resume=True), silent, workspace).steps == 12


def test_a_new_fit_of_a_name_replaces_the_old_one_only_when_its_images_are_sound(
    workspace: Workspace, request_of: Any
) -> None:
    with pytest.raises(Cancelled):
        fit(request_of(), Stop(3), workspace)
    bad = request_of()
    for name in [name for name in bad.files if name.startswith("train/")]:
        del bad.files[name]
    with pytest.raises(LatheError, match="missing"):
        fit(bad, silent, workspace)
    assert fit_state.read_state(state_of()).step == 3
    with pytest.raises(Cancelled):
        fit(request_of(), Stop(2), workspace)
    assert fit_state.read_state(state_of()).step == 2
    assert sorted(path.name for path in fit_state.fits_folder().iterdir()) == ["chair"]


def test_a_discarded_fit_cannot_go_on_but_its_model_stays(workspace: Workspace, request_of: Any) -> None:
    fit(request_of(), silent, workspace)
    assert discard_fit(DiscardFitRequest("chair"), silent, workspace).name == "chair"
    assert workspace.models().fits == ()
    assert "chair" in [info.name for info in workspace.models().models]
    with pytest.raises(InvalidRequest, match="no fit named 'chair'"):
        fit(FitRequest("chair", resume=True), silent, workspace)
    with pytest.raises(InvalidRequest):
        discard_fit(DiscardFitRequest("chair"), silent, workspace)


def test_pausing_before_the_first_step_loses_nothing_and_starts_again(workspace: Workspace, request_of: Any) -> None:
    class AtOnce(Stop):
        def __call__(self, fraction: float, text: str = "", *rest: Any, **options: Any) -> None:
            if text.startswith("Reading"):
                raise Cancelled

    with pytest.raises(Cancelled):
        fit(request_of(), AtOnce(), workspace)
    assert not state_of().exists()
    assert fit(FitRequest("chair", resume=True), silent, workspace).steps == 12


# ------------------------------------------------------------------------------------------------------ what goes wrong


def poison_at(monkeypatch: pytest.MonkeyPatch, step: int, *, seen: bool = True) -> None:
    """Make one weight NaN after a step. Not seen: the loss does not show it, as for an unused entry of a table."""
    original = NeRFTrainer.advance

    def advance(self: NeRFTrainer) -> Any:
        report = original(self)
        if self.step == step:
            with torch.no_grad():
                next(self.nerf.parameters()).view(-1)[0] = float("nan")
            if not seen:
                monkeypatch.setattr(NeRFTrainer, "advance", lambda self: dataclasses.replace(report))
        return report

    monkeypatch.setattr(NeRFTrainer, "advance", advance)


def test_a_fit_that_becomes_nan_stops_keeps_the_last_autosave_and_says_so(
    workspace: Workspace, request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Cancelled):
        fit(request_of(), Stop(3), workspace)
    before = state_of().read_bytes()
    with monkeypatch.context() as patch:
        poison_at(patch, 6)
        with pytest.raises(Diverged, match=r"at step 6.*saved at step 3 is kept") as caught:
            fit(FitRequest("chair", resume=True), silent, workspace)
    assert caught.value.remedy is not None
    assert (caught.value.remedy.action, caught.value.remedy.value) == ("resume_fit", "chair")
    assert state_of().read_bytes() == before
    assert fit(FitRequest("chair", resume=True), silent, workspace).steps == 12


def test_a_fit_that_becomes_nan_before_anything_was_saved_says_that(
    workspace: Workspace, request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_at(monkeypatch, 2)
    with pytest.raises(Diverged, match="Nothing had been saved") as caught:
        fit(request_of(), silent, workspace)
    assert caught.value.remedy is not None and caught.value.remedy.action == "restart_fit"
    assert not state_of().exists() and "chair" not in [info.name for info in workspace.models().models]


def test_what_is_not_finite_is_never_saved_even_if_the_loss_did_not_notice(
    workspace: Workspace, request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Cancelled):
        fit(request_of(), Stop(3), workspace)
    before = state_of().read_bytes()
    poison_at(monkeypatch, 5, seen=False)
    monkeypatch.setattr(fit_run, "AUTOSAVE_SECONDS", 0.05)
    with pytest.raises(Diverged, match="saved at step"):
        fit(FitRequest("chair", resume=True), silent, workspace)
    kept = load_file(state_of())
    assert all(bool(tensor.isfinite().all()) for tensor in kept.values())
    assert len(before) == len(state_of().read_bytes())


def test_a_fit_that_cannot_fit_into_memory_is_refused_before_it_starts(
    workspace: Workspace, request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "free_memory", lambda: methods.PRESET_BYTES["nerf"]["draft"] + (1 << 20))
    with pytest.raises(OutOfMemory, match=r"needs about .* GB of memory") as caught:
        fit(request_of(preset="fine"), silent, workspace)
    assert caught.value.remedy is not None
    assert (caught.value.remedy.action, caught.value.remedy.value) == ("use_preset", "draft")
    monkeypatch.setattr(workspace, "free_memory", lambda: 1000)
    with pytest.raises(OutOfMemory, match="fewer or smaller") as caught:
        fit(request_of(), silent, workspace)
    assert caught.value.remedy is not None and caught.value.remedy.action == "lower_resolution"
    assert not state_of().exists()


@pytest.mark.parametrize(("preset", "low"), [("draft", 0.4), ("standard", 3.2)])
def test_the_memory_that_is_counted_goes_by_the_method(
    workspace: Workspace, images: Path, monkeypatch: pytest.MonkeyPatch, preset: str, low: float
) -> None:
    """low: GiB that the published network was seen to take; the fast engine needs less than a third of a whole one."""
    dataset = open_dataset(images)
    monkeypatch.setattr(workspace, "free_memory", lambda: int(low * 2**30))
    fit_staging.check_memory(dataset, fits.options(method="hash", preset=preset), workspace)
    with pytest.raises(OutOfMemory, match=f"by 'nerf', preset '{preset}'"):
        fit_staging.check_memory(dataset, fits.options(method="nerf", preset=preset), workspace)
    monkeypatch.setattr(workspace, "free_memory", lambda: int(1.25 * low * 2**30))
    fit_staging.check_memory(dataset, fits.options(method="nerf", preset=preset), workspace)


def test_a_file_that_was_not_uploaded_is_named(workspace: Workspace, request_of: Any) -> None:
    request = request_of()
    request.files["train/r_0.png"] = "0" * 64
    with pytest.raises(BlobMissing, match=r"r_0\.png"):
        fit(request, silent, workspace)
    assert not list(fit_state.fits_folder().glob("*"))


def test_the_name_of_another_model_is_refused(workspace: Workspace, request_of: Any, shapes_model: str) -> None:
    with pytest.raises(InvalidRequest, match="Choose another name"):
        fit(request_of("shapes"), silent, workspace)
    with pytest.raises(InvalidRequest, match="Choose another name"):
        fit(request_of("deepsdf_chairs"), silent, workspace)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "no state"])
def test_a_damaged_state_is_a_sentence_and_is_not_listed(workspace: Workspace, request_of: Any, damage: str) -> None:
    with pytest.raises(Cancelled):
        fit(request_of(), Stop(3), workspace)
    path = state_of()
    content = path.read_bytes()
    path.write_bytes({"truncated": content[:-9], "garbage": b"\0" * 99, "no state": content}[damage])
    if damage == "no state":
        scene_file.write_safetensors(path, {"a": torch.zeros(1)}, {"format": "another"})
    with pytest.raises(UnreadableFile, match="Start the fit again"):
        fit(FitRequest("chair", resume=True), silent, workspace)
    assert workspace.models().fits == ()


def test_other_images_under_a_saved_fit_are_noticed(workspace: Workspace, request_of: Any, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        fit(request_of(), Stop(3), workspace)
    folder = fit_state.fits_folder() / "chair" / "dataset"
    shutil.rmtree(folder)
    photographed.write(folder, size=24, train=7, test=2)
    with pytest.raises(InvalidRequest, match="not those"):
        fit(FitRequest("chair", resume=True), silent, workspace)


def test_uploads_that_go_do_not_take_the_data_set_of_a_fit_along(workspace: Workspace, request_of: Any) -> None:
    with pytest.raises(Cancelled):
        fit(request_of(), Stop(3), workspace)
    shutil.rmtree(workspace.blobs.folder)
    assert fit(FitRequest("chair", resume=True), silent, workspace).steps == 12


def test_masks_that_are_not_used_are_not_read_but_what_a_lens_does_not_see_stays_out(
    workspace: Workspace, tmp_path: Path
) -> None:
    lens = {"w": 12, "h": 8, "fl_x": 10.0, "fl_y": 11.0, "camera_model": "OPENCV", "k1": -1.0}
    captures.transforms(tmp_path / "a", top=lens, frame=lambda i, entry: entry.update(mask_path="mask.png"))
    captures.picture(tmp_path / "a" / "mask.png", (5, 5), mode="L")
    files = fits.upload(tmp_path / "a", workspace.blobs)
    with pytest.raises(UnusableDataset, match="The mask") as caught:
        fit(FitRequest("a", files, fits.options(steps=2)), silent, workspace)
    assert caught.value.remedy is not None and caught.value.remedy.action == "ignore_masks"
    options = fits.options(steps=2, use_masks=False)
    result = fit(FitRequest("a", files, options), silent, workspace)
    assert result.steps == 2 and result.psnr is not None
    made = fits.small(open_dataset(tmp_path / "a"), options, torch.device("cpu"))
    assert 0 < made._rays.usable.float().mean() < 0.9


def test_no_view_held_back_gives_no_figure(workspace: Workspace, tmp_path: Path) -> None:
    folder = photographed.write(tmp_path / "few", size=24, train=5, test=0)
    request = FitRequest("few", fits.upload(folder, workspace.blobs), fits.options(steps=3))
    result = fit(request, silent, workspace)
    assert result.psnr is None and result.ssim is None
    payload.unpack(payload.pack(result))


# -------------------------------------------------------------------------------------------------------- the images


class Clock:
    """A fit with a clock that the test sets, whose previews take a given time."""

    background = "random"

    def __init__(self, cost: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.seconds, self.step, self.cost, self.looks = 0.0, 0.0, 0, cost, list[float]()
        monkeypatch.setattr(fit_run.time, "perf_counter", lambda: self.now)

    def advance(self) -> None:
        self.seconds += 0.05
        self.now += 0.05

    def scene(self) -> Any:
        self.now += self.cost
        self.looks.append(self.seconds)
        return fits.torch


@pytest.mark.parametrize("cost", [0.01, 0.2, 3.0])
@pytest.mark.parametrize("with_camera", [False, True])
def test_images_take_a_small_part_of_the_time_and_become_rarer(
    images: Path, monkeypatch: pytest.MonkeyPatch, cost: float, with_camera: bool
) -> None:
    from backend.nerf.datasets import open_dataset
    from backend.scenes.protocol import Image

    dataset = open_dataset(images)
    clock = Clock(cost, monkeypatch)

    def blank(scene: Any, camera: Camera, *_: Any, **__: Any) -> Image:
        shape = camera.height, camera.width
        return Image(torch.zeros(*shape, 3), torch.zeros(shape), torch.zeros(shape))

    monkeypatch.setattr(fit_run, "render_scene", blank)
    wire = None
    if with_camera:
        view = dataset.views[0].camera
        rows = [tuple(map(float, row)) for row in view.intrinsics]
        wire = resized(task_camera(view, rows), 400)
    watch = fit_run.EvalMonitor(dataset, wire, fits.options(background="black"), torch.device("cpu"))
    shown = 0
    for _ in range(6000):
        clock.advance()
        shown += watch.preview(clock, silent) is not None  # type: ignore[arg-type]
    assert shown == len(clock.looks) >= 3
    assert shown * cost < 0.1 * clock.seconds + cost
    gaps = np.diff(clock.looks)
    assert gaps.min() >= 1.0 - 1e-6 and gaps[-1] > gaps[0]
    assert watch.psnr is not None


def task_camera(camera: Camera, intrinsics: Any) -> Any:
    from addon.wire.messages import Camera as WireCamera

    pose = camera.world_from_camera.double()
    pose[3] = torch.tensor([0.0, 0.0, 0.0, 1.0])
    return WireCamera(tuple(tuple(row) for row in pose.tolist()), tuple(intrinsics), camera.width, camera.height)  # type: ignore[arg-type]


def test_mesh_and_file_of_a_fitted_scene_work_as_those_of_every_model(
    workspace: Workspace, request_of: Any, tmp_path: Path
) -> None:
    fit(request_of(), silent, workspace)
    scene = workspace.scene(SceneRef("chair"))
    corner = torch.tensor(scene.info.bounds).mean(0, keepdim=True)
    level = float(scene.field(corner).value.detach()) * 0.5 + 1e-3
    made = mesh(MeshRequest(SceneRef("chair"), resolution=8, iso_level=level, minimum_component=0.0), silent, workspace)
    assert len(made.vertices) > 0
    card = json.loads((tmp_path / "data" / "models" / "chair" / "card.json").read_text())
    assert card["kind"] in ("nerf", "hash_field") and methods.FITS
