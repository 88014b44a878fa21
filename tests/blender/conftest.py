"""Tests in the bpy wheel. Each module's tests run in one child process, which has the extension installed as a user
would and ends with os._exit, because leaving bpy in any other way can hang or crash. The functions are ordinary pytest
functions; `pytest_pyfunc_call` has them called over there, where `bpy` and `lathe` (the add-on's modules) are set in
their module. Arguments must be JSON; `tmp_path` arrives as a string.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import build

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in Path(item.fspath).parents:
            item.add_marker(pytest.mark.blender)


class Worker:
    """A Blender that calls the functions of one test module."""

    def __init__(self, module: str, extension: Path, folder: Path) -> None:
        self._log = open(folder / "blender.log", "w+b")  # noqa: SIM115
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.blender.worker", module, str(extension)],
            cwd=build.ROOT,
            env={**os.environ, "BLENDER_USER_RESOURCES": str(folder / "user")},
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=(self._pipe(),),
        )
        os.close(self._write)

    def _pipe(self) -> int:
        read, self._write = os.pipe()
        os.dup2(self._write, 99)
        os.close(self._write)
        self._write = 99
        os.set_inheritable(99, True)
        self._answers = os.fdopen(read, "rb")
        return 99

    def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a function over there and return its traceback, or an empty string."""
        assert self._child.stdin
        try:
            self._child.stdin.write(json.dumps([name, arguments]).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            return "Blender has ended before\n" + self.log()
        answer = self._answers.readline()
        return json.loads(answer) if answer else "Blender has ended\n" + self.log()

    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text(errors="replace")[-6000:]

    def close(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._answers.close()
        self._log.close()


@pytest.fixture(scope="session")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The extension's zip."""
    target = tmp_path_factory.mktemp("extension") / "latent_lathe.zip"
    build.write_zip(target)
    return target


@pytest.fixture(scope="module", autouse=True)
def blender(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker | None]:
    module = request.node.name.rpartition("/")[2].removesuffix(".py")
    worker = Worker(module, request.getfixturevalue("extension"), tmp_path_factory.mktemp("blender"))
    yield worker
    worker.close()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if HERE not in Path(pyfuncitem.fspath).parents:
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: value for name, value in pyfuncitem.funcargs.items() if name in names}
    arguments = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    failure = pyfuncitem.funcargs["blender"].call(pyfuncitem.originalname, arguments)
    if failure:
        pytest.fail(failure, pytrace=False)
    return True
