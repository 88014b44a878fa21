"""build.py: the package, the environment, and sentences in place of tracebacks."""

from __future__ import annotations

import ast
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import build

SOURCE = (build.ROOT / "build.py").read_text(encoding="utf-8")


def test_an_old_python_reads_the_file_and_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    ast.parse(SOURCE, feature_version=(3, 6))
    monkeypatch.setattr(sys, "version_info", (3, 8, 10))
    with pytest.raises(SystemExit) as end:
        exec(compile(SOURCE, "build.py", "exec"), {"__name__": "__main__"})
    assert "needs Python 3.11 or newer; this is Python 3.8" in str(end.value)


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        (
            "NewConnectionError('<pip>: Failed to establish a new connection: [Errno -3] Temporary failure in name "
            "resolution')\nERROR: No matching distribution found for torch",
            "Connect to the network",
        ),
        ("ReadTimeoutError: HTTPSConnectionPool: Read timed out.", "Connect to the network"),
        ("ERROR: No matching distribution found for bpy==4.5.15", "no build for this Python"),
        ("PermissionError: [Errno 13] Permission denied: '/checkout/.venv'", "cannot be written"),
    ],
)
def test_each_fault_of_pip_becomes_a_sentence_that_says_what_to_do(log: str, sentence: str) -> None:
    assert sentence in build.pip_fault(log)


def test_no_network_says_so_and_exits_one(tmp_path: Path) -> None:
    checkout = _copy_of_the_checkout(tmp_path / "no network")
    subprocess.run([sys.executable, "-m", "venv", checkout / ".venv"], check=True)
    env = {
        **os.environ,
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    env = {name: value for name, value in env.items() if name not in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")}
    answer = subprocess.run(
        [sys.executable, "build.py", "package"], cwd=checkout, env=env, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 1
    assert "Connect to the network" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_full_disk_is_noticed_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(build.Failure, match=r"needs about 6 GB; .* has 2.0 GB free"):
        build._create(tmp_path / "env")
    assert not (tmp_path / "env").exists()


def test_an_interruption_ends_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "package", interrupted)
    assert build.main(["package"]) == 130
    assert "Run the same command again to go on" in capsys.readouterr().err


def test_an_environment_that_is_ready_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(*arguments: object) -> None:
        raise AssertionError("pip was called")

    monkeypatch.setattr(build, "_install", unwanted)
    build.prepare(["backend", "test"])


def test_equal_sources_make_equal_zips_of_the_sources_alone(tmp_path: Path) -> None:
    build.write_zip(tmp_path / "one.zip")
    build.write_zip(tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        names = archive.namelist()
        assert archive.read("__init__.py") == build.PACKAGE_INIT.encode()
    assert {"blender_manifest.toml", "pyproject.toml", "LICENSE", "README.md"} < set(names)
    assert {"addon/__init__.py", "backend/__main__.py", "meshing/__init__.py"} < set(names)
    assert "backend/kernels/ray_rendering/render.inl" in names, "the backend reads its C++ from these"
    assert {name.split("/")[0] for name in names} == {*build.PACKAGED, "__init__.py"}
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".log")) or "/." in name]


@pytest.mark.blender
def test_blender_accepts_the_package_and_the_index_lists_it(tmp_path: Path) -> None:
    checkout = _copy_of_the_checkout(tmp_path / "a b")
    (checkout / ".venv").symlink_to(build.VENV, target_is_directory=True)
    answer = subprocess.run(
        [sys.executable, "build.py", "package"], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    index = json.loads((checkout / "dist" / "index.json").read_text())
    (entry,) = index["data"]
    archive = checkout / "dist" / Path(entry["archive_url"]).name
    assert entry["id"] == "latent_lathe"
    assert entry["archive_size"] == archive.stat().st_size


def test_all_version_numbers_agree() -> None:
    project = tomllib.loads((build.ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (build.ROOT / "CHANGELOG.md").read_text()
    assert build.version() == project
    assert f"## [{project}]" in changelog


def test_each_dependency_has_its_line_of_reason() -> None:
    reasons = (build.ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text()
    names = [re.split(r"[<>=\[]", entry)[0] for group in build.requirements().values() for entry in group]
    assert [name for name in names if f"| {name} |" not in reasons] == []


def test_the_lowest_versions_are_those_of_the_ranges() -> None:
    entries = build.requirements()["backend"]
    lowest = build.minimum(entries)
    assert build.minimum(["torch>=2.10,<3", "bpy==4.5.15"]) == ["torch==2.10", "bpy==4.5.15"]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", entry) for entry in lowest), lowest


def test_another_python_is_found_where_pyenv_put_it_and_its_absence_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(build, "prepare", lambda *_: Path())
    monkeypatch.setattr(build, "package", lambda: Path())
    assert build.main(["test", "--bpy", "5.3.0"]) == 1
    assert "Blender 5.3.0 needs Python 3.13, and none was found: not run." in capsys.readouterr().err
    python = tmp_path / "versions" / "3.13.9" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho '(3, 13)'\n")
    python.chmod(0o755)
    assert build.find_python((3, 13)) == [str(python)]
    assert build.find_python((3, 12)) is None


LOCKED = re.compile(
    r"^([A-Za-z0-9._-]+)==([\w.]+)(?: ; ([^\\]+))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)


def test_every_package_of_set_up_is_pinned_with_hashes_at_a_version_that_the_range_admits() -> None:
    text = build.LOCK.read_text(encoding="utf-8")
    locked = {(name.lower(), found) for name, found, _, _ in LOCKED.findall(text)}
    assert LOCKED.sub("", text) == "", "a line without hashes"
    for entry in build.requirements()["backend"]:
        wanted = Requirement(entry)
        versions = [found for name, found in locked if name == wanted.name.lower()]
        assert versions and all(wanted.specifier.contains(found) for found in versions), entry


def test_the_lock_has_the_versions_that_the_tests_run_with() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)", build.CONSTRAINTS.read_text(encoding="utf-8"), re.M))
    locked = {name: found for name, found, marker, _ in LOCKED.findall(build.LOCK.read_text(encoding="utf-8"))
              if "python_full_version >=" not in marker}  # fmt: skip
    pinned = {name.lower().replace("_", "-"): found for name, found in pins.items()}
    assert {name: found for name, found in locked.items() if pinned.get(name, found) != found} == {}


def test_hashes_are_read_from_an_index_page(tmp_path: Path) -> None:
    ours, other = "1" * 64, "2" * 64
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "index.html").write_text(
        f'<a href="/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-win_amd64.whl#sha256={ours}">a</a>\n'
        f'<a href="/whl/cpu/torch-2.13.01%2Bcpu-cp311-cp311-win_amd64.whl#sha256={other}">b</a>\n'
        f'<a href="/whl/cpu/torch-2.12.0-cp311-cp311-win_amd64.whl#sha256={other}">c</a>\n'
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert build.index_hashes(f"http://127.0.0.1:{server.server_port}", "2.13.0") == [ours]
        server.shutdown()
    assert build.index_hashes(f"http://127.0.0.1:{server.server_port}", "2.13.0") is None


def _copy_of_the_checkout(target: Path) -> Path:
    target.mkdir(parents=True)
    for name in ("build.py", "constraints.txt", *build.PACKAGED):
        source = build.ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    return target
