"""`build.py gpu` and `wheels`: what is missing is a sentence, and each step reports even if another fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import build
import build_gpu

MACHINE = {
    "python": "3.12.3",
    "machine": "Linux",
    "torch": "2.11.0+cu130",
    "installed": {"torch": "2.11.0+cu130", "numpy": "2.2.6"},
    "site": "/usr/lib/python3/dist-packages",
    "built_for_cuda": "13.0",
    "cuda": True,
    "gpu": "a GPU",
    "gpu_memory_gb": 80.0,
    "capability": [9, 0],
}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A rented machine with PyTorch and a GPU, whose environment is there already."""
    found = dict(MACHINE)
    monkeypatch.setattr(build_gpu, "probe", lambda python: found)
    monkeypatch.setattr(build_gpu, "environment", lambda *arguments: (True, "ready", {}))
    return found


def gpu(root: Path, **options: Any) -> int:
    return build_gpu.gpu(root, ["warp-lang>=1.7"], folder=None, **options)


def report(root: Path) -> dict[str, Any]:
    return dict(json.loads((root / build_gpu.REPORT).read_text()))


def test_pytorch_is_the_machines_own_and_tools_for_sources_are_left_out() -> None:
    entries = build_gpu.packages(build.requirements())
    names = {build_gpu.name_of(entry) for entry in entries}
    assert {"warp-lang", "numpy", "scipy", "pytest", "hypothesis"} <= names
    assert not names & {"torch", "ruff", "mypy", "clang-format", "bpy"}
    assert not any("torch" in entry for entry in entries)


def test_missing_wheels_are_named(tmp_path: Path) -> None:
    for name in ("warp_lang-1.19.0-py3-none-manylinux_2_28_x86_64.whl", "scikit_image-0.26.0-cp312-cp312-linux.whl"):
        (tmp_path / name).touch()
    entries = ["warp-lang>=1.7,<2", "scikit-image>=0.24", "numpy>=1.26", "fast-simplification>=0.1.9", "pycolmap>=4"]
    missing = build_gpu.missing_wheels(entries, tmp_path, ["numpy", "torch"])
    assert missing == ["fast-simplification", "pycolmap"]


def test_an_environment_that_lacks_wheels_says_which_and_how_to_get_them(tmp_path: Path) -> None:
    this = build_gpu.probe([sys.executable])
    venv, folder = tmp_path / "venv", tmp_path / "wheels"
    folder.mkdir()
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    version = ".".join(this["python"].split(".")[:2])
    with pytest.raises(build_gpu.Failure, match=rf"no-such-package\. .*build\.py wheels wheels --python {version}"):
        build_gpu.environment(venv, python, this, ["no-such-package>=1", "torch"], folder)


def test_the_environment_sees_the_machines_pytorch_and_installs_nothing_that_is_there(tmp_path: Path) -> None:
    this = build_gpu.probe([sys.executable])
    venv, folder = tmp_path / "venv", tmp_path / "wheels"
    folder.mkdir()
    python = venv / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    ok, summary, result = build_gpu.environment(venv, python, this, ["pytest>=8", "numpy>=1.26"], folder)
    assert ok and this["torch"] in summary and result["installed"] == {}
    assert f"torch=={this['torch']}" in (venv / "constraints.txt").read_text().split()
    answer = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    assert answer.stdout.strip() == this["torch"], answer.stderr


def test_without_pytorch_a_sentence_says_so(tmp_path: Path, machine: dict[str, Any]) -> None:
    machine.update(torch=None, why="No module named 'torch'")
    with pytest.raises(build_gpu.Failure, match=r"has no PyTorch \(No module named 'torch'\)"):
        gpu(tmp_path)


def test_without_a_cuda_device_a_sentence_says_so(tmp_path: Path, machine: dict[str, Any]) -> None:
    machine["cuda"] = False
    with pytest.raises(build_gpu.Failure, match=r"sees no CUDA device.*--device cpu"):
        gpu(tmp_path)


@pytest.mark.parametrize("broken", ["tests", "nerf", "generators", "device"])
def test_each_step_reports_even_if_another_fails(
    broken: str, tmp_path: Path, machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def run(command: list[Any], root: Path, env: dict[str, str] | None = None, *, echo: bool = False) -> Any:
        words = [str(part) for part in command]
        kind = next((name for name in ("pytest", "nerf", "generators") if name in words), "device")
        if (broken == "tests" and kind == "pytest") or broken == kind:
            return 1, "", "Traceback\nRuntimeError: out of luck\n"
        if kind == "pytest":
            (root / build_gpu.VENV).mkdir(exist_ok=True)
            totals = {"passed": 20, "failed": 0, "error": 0, "skipped": 1}
            Path(env["LATENT_LATHE_TEST_REPORT"]).write_text(json.dumps({"totals": totals, "left_out": {"no x": 1}}))
        assert kind in ("pytest", "device") or words[-3:] == ["--device", "cuda", "--json"]
        row = {"measure": "render: engine", "value": 0.01, "unit": "s", "bar": None, "ok": True}
        return 0, json.dumps([row]) if "bench" in words else "device cuda", ""

    monkeypatch.setattr(build_gpu, "run", run)
    assert gpu(tmp_path) == 1
    steps = {step["name"]: step for step in report(tmp_path)["steps"]}
    assert list(steps) == ["environment", "device", "tests", "bench nerf", "bench generators"]
    (failed,) = [name for name, step in steps.items() if not step["ok"]]
    assert failed.endswith(broken) and "out of luck" in steps[failed]["summary"]
    printed = capsys.readouterr().out
    assert f"FAILED {failed}: RuntimeError: out of luck" in printed and printed.count("ok    ") == 4
    if broken != "tests":
        assert steps["tests"]["summary"] == "20 passed, 0 failed, 1 skipped (1 no x)"
    if broken != "nerf":
        assert steps["bench nerf"]["result"]["rows"][0]["measure"] == "render: engine"
    assert report(tmp_path)["machine"]["torch"] == machine["torch"]


def test_an_environment_that_fails_is_reported_and_nothing_else_is_run(
    tmp_path: Path, machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fails(*arguments: Any) -> Any:
        raise build_gpu.Failure("Wheels are missing in x: warp-lang.")

    monkeypatch.setattr(build_gpu, "environment", fails)
    assert gpu(tmp_path) == 1
    assert [step["summary"] for step in report(tmp_path)["steps"]] == ["Wheels are missing in x: warp-lang."]
    assert "not run: tests, bench nerf, bench generators" in capsys.readouterr().out


def test_a_row_that_says_that_its_case_failed_fails_the_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"measure": "GRAF: failed: RuntimeError: x", "value": 0.0, "unit": "", "bar": None, "ok": False}]
    monkeypatch.setattr(build_gpu, "run", lambda *a, **o: (0, json.dumps(rows), ""))
    ok, summary, _ = build_gpu.bench(tmp_path, Path("python"), ["generators"])
    assert not ok and "GRAF: failed" in summary


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(["gpu", "--device", "tpu"], "invalid choice"), (["wheels"], "FOLDER"), (["gpu", "--what"], "takes no arguments")],
)
def test_wrong_arguments_are_refused(arguments: list[str], what: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        build.main(arguments)
    assert what in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path, capsys: Any) -> None:
    assert build.main(["gpu", "--wheels", str(tmp_path / "none")]) == 1
    assert "There is no folder" in capsys.readouterr().err


def test_wheels_are_downloaded_for_the_other_machine_and_a_failure_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        seen.append(command)
        return subprocess.CompletedProcess(command, int("nothing" in command), "", "No matching distribution: nothing")

    monkeypatch.setattr(subprocess, "run", pip)
    assert build_gpu.wheels(tmp_path / "w", ["scipy>=1.11"], "3.13", "aarch64") == 0
    assert {"--only-binary=:all:", "3.13", "manylinux_2_28_aarch64", "scipy>=1.11"} <= set(seen[0])
    with pytest.raises(build_gpu.Failure, match="No matching distribution: nothing"):
        build_gpu.wheels(tmp_path / "w", ["nothing"])
    with pytest.raises(build_gpu.Failure, match=r"such as 3\.12"):
        build_gpu.wheels(tmp_path / "w", ["scipy"], "312")
