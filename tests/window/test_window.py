"""The extension in a real Blender window: the actual buttons, pressed by simulated events.

One long scenario (main_job.py) runs once; each test here asserts one property of what it noted. Screenshots lie in
.cache/window/<scenario>/ for a person to look at.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import build
from tests.backend.fixtures.trainings import write_images
from tests.shared import CHECKPOINTS

pytestmark = [pytest.mark.window, pytest.mark.slow, pytest.mark.timeout(1500)]

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latent-lathe"
HOLD_LIMIT_SECONDS = 0.050


def start(scenario: str, limit: int, files: dict[str, bytes] | None = None) -> tuple[subprocess.Popen[bytes], Path]:
    """Start Blender with a scenario. Returns the process and the folder of its results and screenshots.

    files: name in that folder -> what lies there from the start.
    """
    out = build.ROOT / ".cache" / "window" / scenario
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name, content in (files or {}).items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(content)
    for name in ("driver.py", f"{scenario}.py"):
        shutil.copy(HERE / name, out / name)
    with open(out / "window.log", "wb") as log:
        command = [
            HERE / "window.sh", CACHE / "window-trixie", out, build.package(), f"{scenario}.py", sys.executable
        ]  # fmt: skip
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "LIMIT": str(limit)})
    return child, out


def results(out: Path) -> dict[str, Any]:
    path = out / "results.json"
    return json.loads(path.read_text()) if path.exists() else {}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def afternoon() -> dict[str, Any]:
    """What the scenario main_job noted."""
    child, out = start("main_job", limit=900)
    status = child.wait()
    noted = results(out)
    assert status == 0, f"{noted.get('error', '')}\n{(out / 'window.log').read_text()[-4000:]}"
    return noted


def test_pressing_start_and_generate_puts_a_closed_shape_into_the_scene(afternoon: dict[str, Any]) -> None:
    assert afternoon["starting"] in ("starting", "ready")
    assert afternoon["first_faces"] > 2000
    assert afternoon["first_closed"]


def test_redo_brings_back_what_undo_took(afternoon: dict[str, Any]) -> None:
    assert afternoon["faces_after_redo"] == afternoon["first_faces"]


def test_the_preview_shows_the_shape(afternoon: dict[str, Any]) -> None:
    assert 0.01 < afternoon["preview_cover"] < 0.95


def test_the_main_thread_is_never_held_for_more_than_50_ms(afternoon: dict[str, Any]) -> None:
    assert afternoon["holds"], "the add-on was never called"
    assert [hold for hold in afternoon["holds"] if hold[0] > HOLD_LIMIT_SECONDS] == []


def test_escape_cancels_and_leaves_nothing_behind(afternoon: dict[str, Any]) -> None:
    assert afternoon["cancel"]["state"] == "cancelled"
    assert afternoon["cancel"]["seconds"] < 3
    assert afternoon["cancel"]["left"]


def test_a_killed_backend_is_a_sentence_within_two_seconds_and_the_next_press_works(afternoon: dict[str, Any]) -> None:
    assert afternoon["death"]["seconds"] < 2
    assert "killed" in afternoon["death"]["line"]
    assert afternoon["object_after_restart"]


def test_saving_and_reopening_keeps_shapes_and_backend(afternoon: dict[str, Any]) -> None:
    assert afternoon["names_survive_reload"]
    assert afternoon["state_after_reload"] == "ready"
    assert afternoon["object_after_reload"]


def test_disabling_ends_the_backend_and_leaves_no_trace(afternoon: dict[str, Any]) -> None:
    assert afternoon["seconds_to_end_when_disabled"] < 5
    assert afternoon["traces"] == []
    assert afternoon["objects_after_enable"] > 0


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    """What the scenario fields noted."""
    child, out = start("fields", limit=900)
    status = child.wait()
    noted = results(out)
    assert status == 0, f"{noted.get('error', '')}\n{(out / 'window.log').read_text()[-4000:]}"
    return noted


def test_a_capture_ended_by_escape_goes_on_where_it_stopped(fields: dict[str, Any]) -> None:
    assert 3 <= fields["pictures_when_ended"] < 22
    assert fields["pictures"] == 22


def test_a_fit_shows_itself_can_be_paused_and_goes_on(fields: dict[str, Any]) -> None:
    assert fields["figures"]["step"] > 0 and fields["figures"]["rays_per_second"] > 0
    assert fields["paused"] == {"state": "cancelled", "fits": ["ring"]}
    assert fields["fit"]["state"] == "done" and fields["fit"]["fields"] == ["ring"]
    assert fields["fit"]["steps"] > fields["figures"]["step"]


def test_the_mesh_of_the_field_is_as_large_as_what_was_captured(fields: dict[str, Any]) -> None:
    assert fields["mesh"]["faces"] > 1000 and fields["mesh"]["colors"] == 1
    ring, made = fields["mesh"]["sizes"]
    # the ring leans: its box in the world, of which the mesh's is
    width, depth, height = ring[0], 1.0 * math.cos(0.7) + 0.5, 1.0 * math.sin(0.7) + 0.5
    assert made == pytest.approx([width, depth, height], rel=0.05)


def test_fields_never_hold_the_main_thread_for_more_than_50_ms(fields: dict[str, Any]) -> None:
    assert fields["holds"], "the add-on was never called"
    assert [hold for hold in fields["holds"] if hold[0] > HOLD_LIMIT_SECONDS] == []


@pytest.fixture(scope="module")
def sliders() -> dict[str, Any]:
    """What the scenario sliders noted."""
    checkpoint = CHECKPOINTS / "eg3d_network-snapshot-000000.pkl"
    files = {"faces.pkl": checkpoint.read_bytes(), "bad.pkl": checkpoint.read_bytes()[:50_000]}
    child, out = start("sliders", limit=900, files=files)
    status = child.wait()
    noted = results(out)
    assert status == 0, f"{noted.get('error', '')}\n{(out / 'window.log').read_text()[-4000:]}"
    return noted


def test_a_checkpoint_is_imported_and_a_half_one_refused(sliders: dict[str, Any]) -> None:
    assert "bad.pkl" in sliders["refused"]
    assert sliders["imported"] == {"model": "faces", "through": "SLIDERS"}


@pytest.mark.parametrize("slider", ["mix_geometry", "yaw"])
def test_dragging_a_slider_shows_drafts_on_the_way_and_then_the_full_image(
    sliders: dict[str, Any], slider: str
) -> None:
    noted = sliders[f"dragged {slider}"]
    assert noted["to"] != noted["from"]
    before, *seen = noted["seen"]
    drafts = [picture for picture in seen if picture[1] == 64]
    assert len({picture[2] for picture in drafts}) >= 2, "the picture changes while the slider moves"
    assert drafts[0][0] < noted["released"]
    assert seen[-1][1] == 128 and seen[-1][2] != before[2], "the full picture comes last, and is another"


def test_a_variant_is_chosen_by_a_click_and_seen_in_the_history(sliders: dict[str, Any]) -> None:
    assert len(sliders["variants"]) == 8 and sliders["variant_chosen"] in sliders["variants"]
    assert sliders["history"][0] == [sliders["variant_chosen"], True]
    assert sliders["favourites"] == 1


def test_a_walk_is_keyframed_and_rendered_by_buttons(sliders: dict[str, Any]) -> None:
    assert len(sliders["walk"]) == 7 == len(set(sliders["walk"]))


def test_sliders_never_hold_the_main_thread_for_more_than_50_ms(sliders: dict[str, Any]) -> None:
    assert sliders["holds"], "the add-on was never called"
    assert [hold for hold in sliders["holds"] if hold[0] > HOLD_LIMIT_SECONDS] == []


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the scenario train noted."""
    folder = write_images(tmp_path_factory.mktemp("train") / "images")
    files = {f"images/{path.name}": path.read_bytes() for path in folder.iterdir()}
    child, out = start("train", limit=900, files=files)
    status = child.wait()
    noted = results(out)
    assert status == 0, f"{noted.get('error', '')}\n{(out / 'window.log').read_text()[-4000:]}"
    return noted


def test_a_training_shows_itself_is_paused_and_goes_on_to_a_model(train: dict[str, Any]) -> None:
    assert "pigan" in train["trainable"]
    assert train["figures"]["step"] >= 20 and train["figures"]["loss_d"] > 0
    sweep, curves = train["sheets"]
    assert sweep["size"] == curves["size"] == [448, 640] and curves["colors"] > 10
    steps = train["paused"]["stored"]["balls"]
    assert train["paused"] == {"state": "cancelled", "stored": {"balls": steps}, "model": True}
    assert steps >= train["figures"]["step"] and train["resumed"]["step"] > steps
    assert train["stopped"] == {"state": "cancelled", "stored": [], "model": True}


def test_the_trained_model_generates(train: dict[str, Any]) -> None:
    assert train["generated"]["model"] == "balls" and train["generated"]["size"] == [64, 64]


def test_trainings_never_hold_the_main_thread_for_more_than_50_ms(train: dict[str, Any]) -> None:
    assert train["holds"], "the add-on was never called"
    assert [hold for hold in train["holds"] if hold[0] > HOLD_LIMIT_SECONDS] == []


def test_the_backend_ends_when_blender_is_killed() -> None:
    child, out = start("killed", limit=300)
    try:
        deadline = time.monotonic() + 400
        while "backend_pid" not in results(out):
            assert child.poll() is None, (out / "window.log").read_text()[-4000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        backend = results(out)["backend_pid"]
        assert alive(backend)
        os.kill(int((out / "blender.pid").read_text()), signal.SIGKILL)
        killed = time.monotonic()
        while alive(backend):
            assert time.monotonic() - killed < 5, "the backend outlives Blender"
            time.sleep(0.05)
    finally:
        child.terminate()
        child.wait()
