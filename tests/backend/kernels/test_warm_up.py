"""After a warm-up nothing is left to compile, in this process or the next."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backend.kernels import warm_up as module
from backend.kernels.hash_encoding import HashSpec
from backend.kernels.radiance_mlp import RadianceMlpSpec
from backend.kernels.warm_up import TEXT, use_writable_cache, warm_up

SPEC, MLP, CPU = HashSpec(4, 2, 10, 4, 32), RadianceMlpSpec(8, 16, 16, 16), torch.device("cpu")

SCRIPT = """
import sys, torch
import warp._src.build as build
compiled = []
native = build.build_cpu
build.build_cpu = lambda path, *rest, **more: (compiled.append(path), native(path, *rest, **more))[1]
from backend.kernels.hash_encoding import HashSpec
from backend.kernels.radiance_mlp import RadianceMlpSpec
from backend.kernels.warm_up import warm_up
warm_up(HashSpec(4, 2, 10, 4, 32), RadianceMlpSpec(8, 16, 16, 16), torch.device("cpu"))
print(len(compiled))
"""


def test_it_reports_what_it_does_and_does_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ready", set())
    seen: list[tuple[float, str]] = []
    warm_up(SPEC, MLP, CPU, lambda fraction, text="", preview=None, *, figures=None: seen.append((fraction, text)))
    assert {text for _, text in seen} == {TEXT} and [f for f, _ in seen] == sorted(f for f, _ in seen)
    before = len(seen)
    warm_up(SPEC, MLP, CPU, lambda fraction, text="", preview=None, *, figures=None: seen.append((fraction, text)))
    assert len(seen) == before


def test_the_next_process_compiles_nothing() -> None:
    warm_up(SPEC, MLP, CPU)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, env=environment, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "0", done.stdout + done.stderr


def test_where_the_cache_cannot_be_written_another_folder_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import warp as wp

    blocked = tmp_path / "a file"
    blocked.write_text("where a folder should be")
    monkeypatch.setattr(wp.config, "kernel_cache_dir", str(blocked / "warp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = use_writable_cache()
    assert folder.is_dir() and folder.parent == tmp_path and wp.config.kernel_cache_dir == str(folder)
