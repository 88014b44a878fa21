"""Set Up and the doctor, with tiny wheels in place of the real packages and no network."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from addon.link import doctor, environment
from addon.link.environment import Output, SetUp, explain, ready_python, torch_build
from addon.link.packages import drop_half_installed
from addon.wire import errors

from ..fake_backend import REPOSITORY

MODULES = {
    "torch": "torch", "numpy": "numpy", "scipy": "scipy", "scikit-image": "skimage", "trimesh": "trimesh",
    "fastapi": "fastapi", "uvicorn": "uvicorn", "safetensors": "safetensors",
}  # fmt: skip


def make_wheel(folder: Path, name: str, module: str, version: str = "2.9") -> None:
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", f"__version__ = {version!r}\n")
        info = f"{stem}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheels/ and an extension root/ that wants them; a space in its path."""
    place = tmp_path_factory.mktemp("set up")
    (place / "wheels").mkdir()
    (place / "root").mkdir()
    for name, module in MODULES.items():
        make_wheel(place / "wheels", name, module)
    lines = ", ".join(f'"{name}>=2,<3"' for name in MODULES)
    (place / "root" / "pyproject.toml").write_text(f"[project]\ndependencies = [{lines}]\n")
    return place


def set_up(place: Path, folder: str = "environment", **options: object) -> SetUp:
    return SetUp(
        place / folder, place / "root", place / "set_up.log", base_python=Path(sys.executable),
        **{"wheels": place / "wheels", **options},  # type: ignore[arg-type]
    )  # fmt: skip


def ignore(fraction: float, text: str) -> None:
    pass


def test_set_up_from_wheels_goes_on_does_nothing_twice_and_names_what_is_missing(place: Path) -> None:
    assert ready_python(place / "environment") is None
    run, seen = set_up(place), []

    def stop_after_torch(fraction: float, text: str) -> None:
        seen.append((fraction, text))
        if text.startswith("Packages"):
            run.cancel()

    with pytest.raises(errors.Cancelled):
        run.run(stop_after_torch)
    assert ready_python(place / "environment") is None

    later: list[str] = []
    python = set_up(place).run(lambda fraction, text: later.append(text))
    assert python == ready_python(place / "environment")
    assert not any(text.startswith(("Making", "PyTorch")) for text in later), "what was done is not done again"
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and any("PyTorch" in text for _, text in seen)

    again: list[str] = []
    assert set_up(place).run(lambda fraction, text: again.append(text)) == python and again == []

    found = doctor.examine(python, place / "root", place / "user", place / "data")
    verdicts = {finding.name: finding for finding in found}
    assert verdicts["Packages"].verdict == "ok" and verdicts["Python"].verdict == "ok"
    assert verdicts["PyTorch"].verdict == "fault", "the tiny torch is no torch"

    wheels = place / "few wheels"
    wheels.mkdir()
    make_wheel(wheels, "torch", "torch")
    (place / "root" / "pyproject.toml").write_text('[project]\ndependencies = ["torch", "networkx"]\n')
    with pytest.raises(errors.SetUpFailed, match="lacks networkx"):
        set_up(place, wheels=wheels).run(ignore)
    assert ready_python(place / "environment") is None, "a new list of packages is not fulfilled by the old environment"


def lock_of(root: Path, wheels: Path, names: dict[str, str], wrong: str = "") -> None:
    """Write the lock of an extension folder: these packages by version, with the hashes of their wheels."""
    lines = []
    for name, version in names.items():
        data = (wheels / f"{name.replace('-', '_')}-{version}-py3-none-any.whl").read_bytes()
        digest = "0" * 64 if name == wrong else hashlib.sha256(data).hexdigest()
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
    (root / "requirements-lock.txt").write_text("".join(lines))
    (root / "requirements-torch.json").write_text("{}")


@pytest.mark.parametrize("wrong", ["", "numpy"])
def test_set_up_installs_what_is_locked_and_refuses_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "index").mkdir()
    for name in ("torch", "numpy", "filelock"):
        for version in ("2.5", "2.9"):
            make_wheel(tmp_path / "index", name, name, version)
    lock_of(tmp_path / "root", tmp_path / "index", dict.fromkeys(("torch", "numpy", "filelock"), "2.5"), wrong)
    (tmp_path / "root" / "pyproject.toml").write_text('[project]\ndependencies = ["torch>=2", "numpy>=2"]\n')
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # pip's own index is this folder
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    run = SetUp(
        tmp_path / "environment",
        tmp_path / "root",
        tmp_path / "log",
        base_python=Path(sys.executable),
        index_url="PYPI",
    )
    if wrong:
        with pytest.raises(errors.SetUpFailed, match="is not the one this version of Latent Lathe was locked to"):
            run.run(ignore)
        assert ready_python(tmp_path / "environment") is None
        return
    python = run.run(ignore)
    program = "import torch, numpy, filelock; print(torch.__version__, numpy.__version__, filelock.__version__)"
    answer = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["2.5", "2.5", "2.5"], "the newer ones are not locked"


def test_pytorch_comes_by_hash_else_by_release_else_by_range_and_the_rest_stays_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "numpy"):
        make_wheel(tmp_path, name, name, "2.5")
    lock_of(tmp_path, tmp_path, {"torch": "2.5", "numpy": "2.5"})
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["torch>=2", "numpy>=2"]\n')

    def wanted(platform: str, **options: str) -> environment.Wanted:
        monkeypatch.setattr(environment.sys, "platform", platform)
        folder, log = tmp_path / "e", tmp_path / "log"
        torch, others = SetUp(folder, tmp_path, log, base_python=Path(sys.executable), **options)._wanted()  # type: ignore[arg-type]
        monkeypatch.undo()
        assert "numpy==2.5" in others.locked and not others.ranges
        return torch

    assert "--hash=sha256:" in wanted("linux", device="cuda").locked, "the package index has CUDA's build for Linux"
    assert wanted("linux", index_url="https://mirror.example/simple") == environment.Wanted(("torch>=2",))
    assert wanted("linux", device="cpu") == environment.Wanted(("torch==2.5",), dependencies=False)
    assert wanted("win32", device="cuda") == environment.Wanted(("torch>=2",)), "its index was not seen to have 2.5"
    builds = {"cpu linux": {"version": "2.5", "hashes": ["1" * 64, "2" * 64]}}
    (tmp_path / "requirements-torch.json").write_text(json.dumps(builds))
    hashes = f"    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{'2' * 64}\n"
    assert wanted("linux", device="cpu").locked == "torch==2.5 \\\n" + hashes


def test_the_check_imports_every_dependency_by_a_name_that_exists() -> None:
    names = environment.modules(REPOSITORY)
    assert len(names) == len(environment.requirements(REPOSITORY)) > 15
    assert [name for name in names if importlib.util.find_spec(name) is None] == []


def test_packages_that_were_cut_off_in_the_middle_are_forgotten(place: Path) -> None:
    folder = place / "environment 6"
    for name, files in {"whole": ("INSTALLER", "RECORD"), "half": (), "nearly": ("INSTALLER",)}.items():
        info = folder / "lib" / "python3" / "site-packages" / f"{name}-1.dist-info"
        info.mkdir(parents=True)
        for file in ("METADATA", *files):
            (info / file).write_text("")
    drop_half_installed(folder)
    assert [path.name for path in folder.glob("**/*.dist-info")] == ["whole-1.dist-info"]


def test_a_folder_too_deep_for_windows_is_a_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = set_up(place, "deep" * 20)
    with monkeypatch.context() as patch:
        patch.setattr(environment.sys, "platform", "win32")
        patch.setattr(environment, "long_paths_enabled", lambda: False)
        with pytest.raises(errors.SetUpFailed, match="turn on long paths") as caught:
            run._check_place()
        patch.setattr(environment, "long_paths_enabled", lambda: True)
        run._check_place()
    assert caught.value.remedy and caught.value.remedy.action == "choose_python"


def test_windows_without_long_paths_gets_a_shorter_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALAPPDATA", str(place / "local"))
    deep, shallow = place / ("deep" * 20), Path("user")
    choose = environment.environment_folder
    assert choose(deep) == deep / "environment", "other systems have no such limit"
    with monkeypatch.context() as patch:
        patch.setattr(environment.sys, "platform", "win32")
        patch.setattr(environment, "long_paths_enabled", lambda: False)
        chosen = [choose(deep), choose(shallow)]
        patch.setattr(environment, "long_paths_enabled", lambda: True)
        chosen.append(choose(deep))
    assert place / "local" in chosen[0].parents
    assert chosen[1:] == [shallow / "environment", deep / "environment"]


def test_cancel_ends_a_running_step_at_once(place: Path) -> None:
    run = set_up(place, "environment 3")
    threading.Timer(0.3, run.cancel).start()
    begun = time.monotonic()
    with pytest.raises(errors.Cancelled):
        run.run(ignore)
    assert time.monotonic() - begun < 3


def test_a_folder_without_wheels_and_one_that_cannot_be_written_say_so(place: Path) -> None:
    with pytest.raises(errors.SetUpFailed, match="holds no wheel files"):
        set_up(place, wheels=place / "root").run(ignore)
    (place / "file").write_text("")
    with pytest.raises(errors.CannotWrite):
        set_up(place, "file/environment").run(ignore)


def test_a_full_disk_is_noticed_before_the_start(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = environment.shutil.disk_usage(place)
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: usage._replace(free=10**8))
    with pytest.raises(errors.CannotWrite, match=r"0\.1 GB free, and 2\.5 GB are needed"):
        set_up(place, "environment 4").run(ignore)


def test_a_python_that_is_none_is_a_sentence(place: Path) -> None:
    run = SetUp(
        place / "environment 5", place / "root", place / "set_up.log",
        base_python=place / "no python", wheels=place / "wheels",
    )  # fmt: skip
    with pytest.raises(errors.SetUpFailed, match="cannot be started") as caught:
        run.run(ignore)
    assert caught.value.remedy and caught.value.remedy.action == "choose_python"


SAID = {
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": "disk is full",
    "WARNING: Retrying ... NewConnectionError('Failed to establish a new connection')": "cannot be reached",
    "ReadTimeoutError: HTTPSConnectionPool(host='x', port=443): Read timed out.": "cannot be reached",
    "ERROR: No matching distribution found for torch<3,>=2.6": "There is no package torch<3,>=2.6 for Python",
    "ERROR: Could not install: [Errno 13] Permission denied: 'C:\\x'": "close other Blenders",
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES, hash ... do not match": "Nothing of it was installed",
    "ERROR: Something odd": "Set Up failed: ERROR: Something odd",
}


@pytest.mark.parametrize("said", SAID)
def test_what_pip_says_becomes_a_sentence(said: str) -> None:
    assert SAID[said] in explain(said, ["pip"], Path("log")).message


def test_downloads_show_their_megabytes_and_progress_never_goes_back() -> None:
    seen: list[tuple[float, str]] = []
    output = Output(lambda fraction, text: seen.append((fraction, text)))
    for line in (
        "Collecting torch>=2.6",
        "Downloading https://x/torch-2.9.whl (800 MB)",
        "Progress 100000000 of 800000000",
        "Progress 800000000 of 800000000",
        "Collecting numpy",
        "Installing collected packages: numpy, torch",
    ):
        output.line(line)
    assert (seen[2][1], seen[3][1]) == ("torch 100 of 800 MB", "torch 800 of 800 MB")
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions) and fractions[-1] < 1


def test_every_device_has_a_build_or_a_sentence() -> None:
    for device in environment.NEEDED_GIGABYTES:
        try:
            assert torch_build(device).reason
        except errors.SetUpFailed as error:
            assert error.remedy and error.remedy.action == "use_cpu_build"
    assert environment.detect_device() in environment.NEEDED_GIGABYTES


def test_the_requirements_are_those_of_the_project() -> None:
    names = [line.split(">")[0] for line in environment.requirements(REPOSITORY)]
    assert "torch" in names and "fastapi" in names


def test_the_doctor_has_a_remedy_for_every_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "root").mkdir()
    found = doctor.examine(None, tmp_path / "root", tmp_path / "file" / "user", None, online=False)
    texts = {finding.name: finding for finding in found if finding.verdict != "ok"}
    assert "install the extension again" in texts["Extension"].text
    assert "permissions" in texts["Environment folder"].text
    assert texts["Python"].remedy and texts["Python"].remedy.action == "set_up"
    assert texts["Online access"].remedy and texts["Online access"].remedy.action == "allow_online"

    found = doctor.examine(tmp_path / "python", tmp_path / "root", tmp_path / "user", None)
    assert any("There is no Python at" in finding.text for finding in found)


def test_the_doctor_notices_a_taken_port(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = doctor.examine(None, tmp_path, tmp_path, None, port=taken.getsockname()[1])
    port = next(finding for finding in found if finding.name == "Port")
    assert port.verdict == "warning" and port.remedy and port.remedy.action == "any_port"


def test_the_doctor_sees_a_program_that_is_no_python(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "pyproject.toml").write_text("[project]\ndependencies = ['torch']\n")
    found = doctor.examine(program, tmp_path, tmp_path, None)
    python = next(finding for finding in found if finding.name == "Python")
    assert "does not run: broken" in python.text and python.remedy
