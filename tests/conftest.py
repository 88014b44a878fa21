"""What every test run needs: which marks this machine can run, folders of its own, and a clean end with bpy."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

REPORT = "LATENT_LATHE_TEST_REPORT"  # build.py sums up several runs from the files named here


def _why_not_gpu() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "no CUDA device"


def _why_not_blender() -> str | None:
    return None if importlib.util.find_spec("bpy") else "no bpy wheel, which needs Python 3.11"


def _why_not_window() -> str | None:
    if not sys.platform.startswith("linux") or not Path("/etc/debian_version").exists():
        return "not a Debian host"
    if os.geteuid() != 0:
        return "not root"
    if importlib.util.find_spec("bpy") is None:
        return "no bpy wheel to build the extension with, which needs Python 3.11"
    return None


WHY_NOT = {"gpu": _why_not_gpu, "blender": _why_not_blender, "window": _why_not_window}
"""Mark -> a function that says why this machine cannot run such tests, or None if it can."""


@cache
def why_not(mark: str) -> str | None:
    return WHY_NOT[mark]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the user's models, jobs and Blender settings out of it."""
    config.stash[FOLDER] = tempfile.mkdtemp(prefix="latent-lathe-tests-")
    os.environ["LATENT_LATHE_DATA"] = f"{config.stash[FOLDER]}/data"
    os.environ["BLENDER_USER_RESOURCES"] = f"{config.stash[FOLDER]}/blender"


FOLDER = pytest.StashKey[str]()
STATUS = pytest.StashKey[int]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers():
            if mark.name in WHY_NOT and (reason := why_not(mark.name)):
                item.add_marker(pytest.mark.skip(reason=f"{mark.name}: {reason}"))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[STATUS] = int(exitstatus)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if REPORT not in os.environ:
        return
    stats = terminalreporter.stats
    totals = {kind: len(stats.get(kind, [])) for kind in ("passed", "failed", "error", "skipped")}
    left_out = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in stats.get("skipped", []))
    Path(os.environ[REPORT]).write_text(json.dumps({"totals": totals, "left_out": left_out}), encoding="utf-8")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End at once where bpy was imported: with classes or timers registered, its exit can hang (4.5) or crash (4.2)."""
    shutil.rmtree(config.stash[FOLDER], ignore_errors=True)
    if "bpy" in sys.modules and STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[STATUS])
