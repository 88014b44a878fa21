"""fit, eval, render and mesh of a scene file on the command line, with Ctrl-C and --resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from addon.wire.errors import Cancelled
from backend.cli import console, fields
from backend.cli.app import main
from backend.nerf.datasets import open_dataset
from backend.nerf.fit import state as fit_state
from backend.nerf.fit.fitting import StepReport
from backend.nerf.mlp.trainer import NeRFTrainer
from backend.nerf.sfm import reconstruction as sfm
from backend.nerf.sfm.options import SfmOptions
from backend.nerf.sfm.report import HealthReport
from backend.progress import Progress
from tests.backend.fixtures import fits, photographed
from tests.backend.service.process import COMMAND, ROOT

SMALL = ("--method", "nerf", "--preset", "draft")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographed.write(tmp_path_factory.mktemp("images"), size=24, train=8, test=2)


@pytest.fixture
def call(shapes_model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command with --json in this process and returns its answer."""
    fits.use(monkeypatch)
    monkeypatch.setattr(console, "stderr", console.Console(stderr=True, width=200))

    def answer(*arguments: Any, status: int = 0) -> Any:
        monkeypatch.setattr(sys, "argv", ["backend", *map(str, arguments), "--json"])
        try:
            found = main()
        except SystemExit as end:
            found = int(end.code or 0)
        out, err = capsys.readouterr()
        assert found == status, err
        return json.loads(out)

    return answer


def test_a_data_set_becomes_a_scene_file_that_is_evaluated_rendered_and_meshed(
    call: Any, dataset: Path, tmp_path: Path
) -> None:
    scene = tmp_path / "new folder" / "my scene.safetensors"
    made = call("fit", dataset, "--out", scene, *SMALL, "--steps", 10)
    assert (made["steps"], made["paused"], made["views"], made["method"]) == (10, False, 8, "nerf")
    assert made["psnr"] > 3 and made["fit_seconds"] > 0 and made["warnings"] == []

    found = call("eval", scene, dataset, "--split", "test", "--out", tmp_path / "pairs")
    assert found["background"] == "white" and found["split"] == "test"
    assert [view["name"] for view in found["views"]] == ["./test/r_0", "./test/r_1"]
    assert found["psnr"] == pytest.approx(np.mean([view["psnr"] for view in found["views"]]))
    assert found["ssim"] == pytest.approx(np.mean([view["ssim"] for view in found["views"]]))
    assert found["psnr"] == pytest.approx(made["psnr"], abs=1e-3)
    for file in (tmp_path / "pairs").iterdir():
        with Image.open(file) as image:
            assert image.size == (48, 24)
    over_black = call("eval", scene, dataset, "--background", "black")
    assert over_black["background"] == "black" and over_black["psnr"] != found["psnr"]
    assert len(call("eval", scene, dataset, "--split", "train")["views"]) == 8

    path = dataset / "transforms_test.json"
    frames = call("render", scene, "--camera-path", path, "--out", tmp_path / "frames", "--size", 16)
    assert len(frames["files"]) == 2 and frames["model"] == "my_scene"
    with Image.open(frames["files"][0]) as image:
        assert image.size == (16, 16) and image.mode == "RGBA"

    meshed = call("mesh", scene, "--resolution", 8, "--level", 0.01, "--out", tmp_path / "a.ply")
    assert meshed["faces"] > 0 and (tmp_path / "a.ply").is_file()


def test_cameras_after_a_fit_are_written_and_are_a_data_set_with_the_same_images(
    call: Any, dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(dataset, folder)
    file = folder / "transforms_refined.json"
    made = call("fit", folder, "--out", tmp_path / "a.safetensors", *SMALL, "--steps", 2, "--poses-out", file)
    assert made["poses"] == str(file)
    before, after = open_dataset(dataset), open_dataset(file)
    assert len(after.split("train")) == 8 and len(after.split("test")) == 2
    cameras = {view.image.relative_to(folder): view.camera for view in after.views}
    for view in before.views:  # this method leaves cameras as they are
        camera = cameras[view.image.relative_to(dataset)]
        np.testing.assert_allclose(camera.world_from_camera, view.camera.world_from_camera, atol=1e-5)
        np.testing.assert_allclose(camera.intrinsics, view.camera.intrinsics, rtol=1e-6)
    plain = call("eval", tmp_path / "a.safetensors", dataset)
    found = call("eval", tmp_path / "a.safetensors", dataset, "--refine-poses")
    assert found["refined_poses"] and not plain["refined_poses"] and plain["appearance"] == "none"
    assert found["psnr"] > plain["psnr"] - 0.05


def test_a_finished_fit_goes_on_with_more_steps_and_without_resume_starts_again(
    call: Any, dataset: Path, tmp_path: Path
) -> None:
    scene = tmp_path / "a.safetensors"
    call("fit", dataset, "--out", scene, *SMALL, "--steps", 4, "--seed", 3)
    more = call("fit", dataset, "--out", scene, "--resume", "--steps", 6)
    assert more["steps"] == 6 and more["method"] == "nerf"
    assert fit_state.read_state(Path(more["state"])).options.seed == 3
    assert call("fit", dataset, "--out", scene, *SMALL, "--steps", 3)["steps"] == 3


def test_a_fit_that_does_not_start_leaves_the_saved_one_whole(
    call: Any, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, state = tmp_path / "a.safetensors", tmp_path / "a.safetensors.state"
    call("fit", dataset, "--out", scene, *SMALL, "--steps", 4)
    before = state.read_bytes(), scene.read_bytes()
    (tmp_path / "wrong folder").mkdir()
    call("fit", tmp_path / "wrong folder", "--out", scene, *SMALL, "--steps", 4, status=1)
    assert (state.read_bytes(), scene.read_bytes()) == before
    with monkeypatch.context() as cancelled:
        cancelled.setattr(NeRFTrainer, "advance", raise_cancelled)
        paused = call("fit", dataset, "--out", scene, *SMALL, "--steps", 4, status=130)
    assert paused["steps"] == 0 and (state.read_bytes(), scene.read_bytes()) == before


def test_a_fit_that_was_paused_is_not_started_over_by_accident(
    call: Any, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, state = tmp_path / "a.safetensors", tmp_path / "a.safetensors.state"
    with monkeypatch.context() as cancelled:
        first = NeRFTrainer.advance
        cancelled.setattr(NeRFTrainer, "advance", lambda made: raise_cancelled(made) if made.step == 3 else first(made))
        assert call("fit", dataset, "--out", scene, *SMALL, "--steps", 9, status=130)["steps"] == 3
    before = state.read_bytes()
    assert "--resume" in call("fit", dataset, "--out", scene, *SMALL, status=1)["error"]["message"]
    assert state.read_bytes() == before
    assert call("fit", dataset, "--out", scene, "--resume")["steps"] == 9


def test_resume_names_the_options_of_the_saved_fit_and_a_missing_fit(
    call: Any, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = tmp_path / "a.safetensors"
    missing = call("fit", dataset, "--out", scene, *SMALL, "--resume", "--steps", 2, status=1)["error"]["message"]
    assert "nothing to resume" in missing and str(scene) in missing and not scene.exists()
    call("fit", dataset, "--out", scene, *SMALL, "--steps", 2)
    said: list[str] = []
    monkeypatch.setattr(fields, "complain", said.append)
    call("fit", dataset, "--out", scene, *SMALL, "--resume", "--steps", 3)
    assert said == []
    other = ("--refine-poses", "--no-masks", "--preset", "standard", "--seed", 0)
    call("fit", dataset, "--out", scene, "--resume", "--steps", 4, *other)
    assert len(said) == 1 and "preset = draft, refine_poses = False, use_masks = True:" in said[0]


@pytest.mark.parametrize("where", ["a file as folder", "a folder as file", "poses"])
def test_an_out_that_cannot_be_written_is_an_error_before_anything_is_read(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    here = tmp_path / "here"
    (here / "folder.safetensors").mkdir(parents=True)
    (here / "file").touch()
    inside = here / "file" / "deeper" / "a.safetensors"
    out = {"a file as folder": inside, "a folder as file": here / "folder.safetensors"}.get(where)
    poses = () if out else ("--poses-out", inside.with_suffix(".json"))
    monkeypatch.setattr(fields, "workspace", lambda device: pytest.fail("it went on"))
    arguments = ("fit", tmp_path / "nowhere", "--out", out or here / "a.safetensors", *poses)
    error = call(*arguments, status=1)["error"]
    assert error["code"] == "cannot_write" and "choose another place" in error["message"]
    assert {path.name for path in here.iterdir()} == {"file", "folder.safetensors"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("fit", "{empty}", "--out", "{tmp}/a.safetensors"), "empty"),
        (("fit", "{tmp}/nowhere", "--out", "{tmp}/a.safetensors"), "no folder"),
        (("fit", "{dataset}", "--out", "{tmp}/a.glb"), "must end in .safetensors"),
        (("fit", "{dataset}", "--out", "{tmp}/a.safetensors", "--poses-out", "{tmp}/a.txt"), "must end in .json"),
        (("fit", "{dataset}", "--out", "{tmp}/a.safetensors", "--seconds", "-1"), "seconds must be between"),
        (("eval", "{tmp}/a.safetensors", "{dataset}"), "no such folder or model"),
        (("eval", "shapes", "{dataset}"), "not a radiance field"),
    ],
)
def test_bad_input_is_a_sentence(
    call: Any, dataset: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "empty").mkdir()
    filled = [part.format(tmp=tmp_path, dataset=dataset, empty=tmp_path / "empty") for part in arguments]
    assert sentence in call(*filled, status=1)["error"]["message"]


def test_eval_of_a_data_set_without_test_views_offers_the_training_views(call: Any, tmp_path: Path) -> None:
    few = photographed.write(tmp_path / "few", size=24, train=5, test=0)
    made = call("fit", few, "--out", tmp_path / "a.safetensors", *SMALL, "--steps", 2)
    assert made["psnr"] is None and made["ssim"] is None
    error = call("eval", tmp_path / "a.safetensors", few, status=1)["error"]
    assert "holds none out" in error["message"] and error["remedy"]["value"] == "train"
    assert len(call("eval", tmp_path / "a.safetensors", few, "--split", "train")["views"]) == 5


def test_sfm_writes_what_fit_takes_and_reports_on_it(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command alone; the reconstruction is tested in nerf/."""

    def reconstruct(source: Path, out: Path, options: SfmOptions, progress: Progress) -> sfm.Reconstruction:
        assert source.name == "photos" and options.max_size == 320 and options.max_images == 9
        report = HealthReport(4, 4, 1, 2, 0.5, 9.0, 90.0, (0.0, 30.0), "level cameras", (), ("take more",), 1.0)
        return sfm.Reconstruction(open_dataset(photographed.write(out, size=16, train=4, test=0)), report, np.eye(4))

    monkeypatch.setattr(sfm, "reconstruct", reconstruct)
    made = call(
        "sfm", tmp_path / "photos", "--out", tmp_path / "set", "--max-size", 320, "--max-images", 9,
    )  # fmt: skip
    assert made["dataset"] == str(tmp_path / "set") and made["posed"] == 4 and made["advice"] == ["take more"]
    assert call("fit", tmp_path / "set", "--out", tmp_path / "a.safetensors", *SMALL, "--steps", 1)["views"] == 4


# --------------------------------------------------------------------------------------------------- ended from outside


def raise_cancelled(made: NeRFTrainer) -> StepReport:
    """Cancel as Ctrl-C does, at a step that the test chooses."""
    raise Cancelled


def start(dataset: Path, scene: Path, *options: Any) -> subprocess.Popen[str]:
    arguments = [dataset, "--out", scene, *SMALL, "--steps", 1_000_000, "--json", *options]
    return subprocess.Popen(
        [*COMMAND, "fit", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "LATENT_LATHE_AUTOSAVE_SECONDS": "0.2"},
    )  # fmt: skip


def wait_for_state(process: subprocess.Popen[str], state: Path, beyond: int = 0) -> int:
    end = time.monotonic() + 300
    while not state.exists() or fit_state.read_state(state).step <= beyond:
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.02)
    return fit_state.read_state(state).step


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_saves_and_resume_goes_on_from_there(dataset: Path, tmp_path: Path, data: Path) -> None:
    scene = tmp_path / "a.safetensors"
    state = tmp_path / "a.safetensors.state"
    process = start(dataset, scene)
    seen = wait_for_state(process, state)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    paused = json.loads(out)
    assert paused["paused"] and paused["steps"] >= seen and "--resume" in err and "Traceback" not in err
    assert fit_state.read_state(state).step == paused["steps"] and scene.is_file()
    again = start(dataset, scene, "--resume", "--steps", paused["steps"] + 2)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert json.loads(out)["steps"] == paused["steps"] + 2


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_after_a_kill_resume_goes_on_from_the_last_autosave(dataset: Path, tmp_path: Path, data: Path) -> None:
    scene, state = tmp_path / "a.safetensors", tmp_path / "a.safetensors.state"
    process = start(dataset, scene)
    wait_for_state(process, state, beyond=3)
    process.kill()
    process.communicate()
    saved = fit_state.read_state(state)
    assert saved.step > 3 and not saved.finished
    again = start(dataset, scene, "--resume", "--steps", saved.step + 3)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert json.loads(out)["steps"] == saved.step + 3
    assert list(tmp_path.glob(".*")) == []


def test_appearance_learned_per_image_is_fitted_to_held_out_images_on_request(
    call: Any, dataset: Path, tmp_path: Path
) -> None:
    scene = tmp_path / "a.safetensors"
    made = call("fit", dataset, "--out", scene, *SMALL, "--steps", 10, "--appearance", "color")
    found = {kind: call("eval", scene, dataset, "--appearance", kind) for kind in ("none", "exposure", "color")}
    assert [each["appearance"] for each in found.values()] == [*found]
    assert found["color"]["psnr"] > found["exposure"]["psnr"] > found["none"]["psnr"]
    assert made["psnr"] == pytest.approx(found["color"]["psnr"], abs=1e-3)
