"""Set Up: installs the backend's Python environment with pip in child processes. Does not import bpy.

Each finished step writes a stamp, so an interrupted installation resumes with the step it stopped in (and pip's cache
keeps the downloads). A stamp records what the step depended on; a new version of the extension redoes what changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..wire import errors
from .packages import TORCH_BUILDS, TorchBuild, drop_half_installed, python_of, read_lock
from .process import CHOOSE_PYTHON, MINIMUM_PYTHON, clean_environment, quiet_child, tail

NEEDED_GIGABYTES = {"cpu": 2.5, "cuda": 9.0, "rocm": 18.0, "mps": 2.5}
MODULES = {"scikit-image": "skimage", "pillow": "PIL", "warp-lang": "warp"}  # if it is not the name of the package
RETRY = errors.Remedy("set_up", "Try Again")
PREFIX_ON_WINDOWS = 68  # PyTorch's wheel has a path of 171 characters, pip puts 19 in front, and Windows stops at 260


Report = Callable[[float, str], None]
"""(fraction, text); raises Cancelled if the installation was cancelled."""


def detect_device() -> str:
    """Return the kind of device that this machine has: "cuda", "rocm", "mps" or "cpu"."""
    if sys.platform == "darwin":
        return "mps" if platform.machine() == "arm64" else "cpu"
    if shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists():
        return "cuda"
    if sys.platform == "linux" and Path("/dev/kfd").exists():
        return "rocm"
    return "cpu"


def torch_build(device: str) -> TorchBuild:
    """Return the build for a device here. Raises SetUpFailed for one that does not exist for this system."""
    build = TORCH_BUILDS.get((device, sys.platform))
    if build is None:
        raise errors.SetUpFailed(
            f"There is no PyTorch for {device.upper()} on {platform.system()}: choose CPU in the preferences",
            remedy=errors.Remedy("use_cpu_build", "Use the CPU Build"),
        )
    return build


def requirements(root: Path) -> list[str]:
    """Return the backend's dependencies as pyproject.toml lists them. Raises SetUpFailed."""
    try:
        return list(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"])
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise errors.SetUpFailed(f"{root / 'pyproject.toml'} cannot be read: install the extension again") from error


def modules(root: Path) -> list[str]:
    """Return the import names of the backend's dependencies. Raises SetUpFailed."""
    names = (re.match(r"[A-Za-z0-9_.-]+", line) for line in requirements(root))
    return [MODULES.get(name[0].lower(), name[0].lower().replace("-", "_")) for name in names if name]


def ready_python(folder: Path) -> Path | None:
    """Return the Python of a finished environment, or None."""
    python = python_of(folder)
    return python if "check" in _stamps(folder) and python.is_file() else None


def environment_folder(user: Path) -> Path:
    """Return the folder of the environment: in the extension's own folder `user`, unless that is too deep for Windows.

    Windows' usual place of extensions has 100 characters or more, the user's folder for local data about 30.
    """
    folder, local = user / "environment", os.environ.get("LOCALAPPDATA", "")
    if sys.platform != "win32" or not local or len(str(folder)) <= PREFIX_ON_WINDOWS or ready_python(folder):
        return folder
    short = Path(local) / "latent_lathe" / f"python{sys.version_info[0]}{sys.version_info[1]}"
    return short if ready_python(short) or not long_paths_enabled() else folder


def long_paths_enabled() -> bool:
    """Return whether Windows lets paths be longer than 260 characters."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def _stamps(folder: Path) -> dict[str, str]:
    try:
        stamps = json.loads((folder / "lathe.json").read_text("utf-8"))
        return stamps if isinstance(stamps, dict) else {}
    except (OSError, ValueError):
        return {}


@dataclass(frozen=True)
class Wanted:
    """Packages to install: version ranges, or a requirements file with pins and hashes."""

    ranges: tuple[str, ...] = ()
    locked: str = ""
    dependencies: bool = True  # of the ranges; False where they are pinned elsewhere


class SetUp:
    """One installation. `run` blocks; `cancel` may be called from another thread."""

    def __init__(
        self,
        folder: Path,
        root: Path,
        log: Path,
        *,
        base_python: Path,
        device: str = "cpu",
        index_url: str = "",
        wheels: Path | None = None,
    ) -> None:
        """folder: of the environment. root: contains pyproject.toml. base_python: creates the environment.

        index_url: package index for PyTorch instead of the default; "PYPI" is pip's own. wheels: install from this
        folder alone.
        """
        self.folder, self.root, self.log = folder, root, log
        self.base_python, self.device, self.wheels = base_python, device, wheels
        self._index = "" if index_url.upper() == "PYPI" else index_url or torch_build(device).index
        self._is_usual_index = not index_url
        self._child: subprocess.Popen[str] | None = None
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Stop the running step."""
        self._cancelled.set()
        child = self._child
        if child and child.poll() is None:
            child.terminate()

    def run(self, report: Report) -> Path:
        """Create or repair the environment and return its Python.

        Raises:
            SetUpFailed, CannotWrite: with a sentence and a remedy. Cancelled.
        """
        self._check_place()
        key = f"{self.base_python} {platform.python_version()}"
        sources = f"{self._index} {self.wheels or ''}"
        torch, packages = self._wanted()
        self._step("venv", key, 0.0, 0.05, "Making a Python environment", self._make_venv, report)
        self._step(
            "torch", f"{torch} {sources}", 0.05, 0.6, "PyTorch", lambda r: self._pip(torch, self._index, r), report
        )
        self._step("packages", f"{packages}", 0.6, 0.97, "Packages", lambda r: self._pip(packages, "", r), report)
        self._step("check", f"{key} {torch} {packages} {sources}", 0.97, 1.0, "Checking", self._check, report)
        return python_of(self.folder)

    def _wanted(self) -> tuple[Wanted, Wanted]:
        """Return the packages of the two steps: PyTorch, and all others.

        The lock pins both, with hashes. Exceptions: a folder of wheels is the user's own choice and gets the ranges of
        pyproject.toml. Of a build of PyTorch for which the lock has no hashes, the locked release is pinned alone where
        its index is known to have it; else, and from an index of the user's choice, PyTorch comes by its range.
        """
        ranges = requirements(self.root)
        torch = next(line for line in ranges if re.match(r"torch\b", line))
        found = read_lock(self.root)
        if found is None or self.wheels:
            return Wanted((torch,)), Wanted(tuple(line for line in ranges if line != torch))
        others = Wanted(locked=found.packages)
        if not self._index:
            return Wanted(locked=found.torch), others
        if self._is_usual_index:
            build = found.torch_builds.get(f"{self.device} {sys.platform}")
            if build:
                return Wanted(locked=build), others
            if torch_build(self.device).has_locked_release:
                return Wanted((f"torch=={found.torch_release}",), dependencies=False), others
        return Wanted((torch,)), others

    def _check_place(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            probe = self.folder / ".writable"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise errors.CannotWrite(f"{self.folder} cannot be written: {error.strerror or error}") from error
        if sys.platform == "win32" and len(str(self.folder)) > PREFIX_ON_WINDOWS and not long_paths_enabled():
            raise errors.SetUpFailed(
                f"The folder {self.folder} has {len(str(self.folder))} characters, too many for PyTorch's files while "
                "Windows allows 260 in all: turn on long paths (LongPathsEnabled, see Microsoft's page 'Maximum Path "
                "Length Limitation') and start Blender again, or choose an existing Python in a shorter folder",
                remedy=CHOOSE_PYTHON,
            )
        wanted = NEEDED_GIGABYTES[self.device]
        free = shutil.disk_usage(self.folder).free / 1e9
        if free < wanted and "packages" not in _stamps(self.folder):
            raise errors.CannotWrite(
                f"{self.folder} has {free:.1f} GB free, and {wanted:g} GB are needed: free some space", remedy=RETRY
            )
        if self.wheels and not any(self.wheels.glob("*.whl")):
            raise errors.SetUpFailed(f"{self.wheels} holds no wheel files (*.whl): choose the folder that does")

    def _step(
        self,
        name: str,
        key: str,
        start: float,
        end: float,
        label: str,
        action: Callable[[Report], None],
        report: Report,
    ) -> None:
        """Run a step unless its stamp records the same key."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        stamps = _stamps(self.folder)
        if stamps.get(name) == digest:
            return
        if name in stamps:  # later steps depended on it
            stamps = dict(list(stamps.items())[: list(stamps).index(name)])
            self._write_stamps(stamps)
        report(start, label)
        action(lambda fraction, text: report(start + (end - start) * fraction, f"{label}: {text}"))
        report(end, label)
        self._write_stamps({**stamps, name: digest})

    def _write_stamps(self, stamps: dict[str, str]) -> None:
        path = self.folder / "lathe.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(stamps), "utf-8")
        os.replace(part, path)

    def _make_venv(self, report: Report) -> None:
        if sys.version_info < MINIMUM_PYTHON:
            raise errors.SetUpFailed(f"Python {platform.python_version()} is too old", remedy=CHOOSE_PYTHON)
        environment = [str(self.base_python), "-m", "venv", "--clear", str(self.folder)]
        try:
            self._run(environment, report)
            return
        except errors.SetUpFailed as error:
            output = tail(self.log).lower()
            if "ensurepip" not in output and "no module named venv" not in output:
                raise
            reason = error
        # Some systems split venv off their Python: the base Python's own pip can fill an environment without one.
        try:
            self._run([*environment[:-1], "--without-pip", environment[-1]], report)
            self._run(
                [str(self.base_python), "-m", "pip", "--python", str(python_of(self.folder)), "install", "pip"], report
            )
        except errors.SetUpFailed:
            raise errors.SetUpFailed(
                f"{self.base_python} cannot make environments (venv and ensurepip are missing). On Debian and Ubuntu "
                "install python3-venv, or choose an existing Python",
                remedy=CHOOSE_PYTHON,
            ) from reason

    def _pip(self, wanted: Wanted, index: str, report: Report) -> None:
        drop_half_installed(self.folder)
        command = [str(python_of(self.folder)), "-m", "pip", "install", "--no-input", "--prefer-binary"]
        if self.wheels:
            command += ["--no-index", "--find-links", str(self.wheels)]
        elif index:
            command += ["--index-url", index]
        if self._pip_version() >= (24, 1):
            command += ["--progress-bar", "raw"]
        if wanted.locked:
            listed = self.folder / "requirements.txt"
            listed.write_text(wanted.locked, "utf-8")
            command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(listed)]
        elif not wanted.dependencies:
            command += ["--no-deps"]
        self._run([*command, *wanted.ranges], report)

    def _pip_version(self) -> tuple[int, ...]:
        command = [str(python_of(self.folder)), "-m", "pip", "--version"]
        said = subprocess.run(
            command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False, **quiet_child()
        ).stdout
        found = re.match(r"pip (\d+)\.(\d+)", said)
        return tuple(map(int, found.groups())) if found else (0,)

    def _check(self, report: Report) -> None:
        self._run([str(python_of(self.folder)), "-c", f"import {', '.join(modules(self.root))}"], report)

    def _run(self, command: list[str], report: Report) -> None:
        """Run a child process to its end, with its output in the log and its progress reported."""
        seen = Output(report)
        with open(self.log, "a", encoding="utf-8", errors="replace") as log:
            log.write(f"\n--- {' '.join(command)}\n")
            log.flush()
            if self._cancelled.is_set():
                raise errors.Cancelled()
            try:
                child = subprocess.Popen(
                    command,
                    env={**clean_environment(), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                    **quiet_child(),
                )
            except OSError as error:
                raise errors.SetUpFailed(f"{command[0]} cannot be started: {error}", remedy=CHOOSE_PYTHON) from error
            self._child = child
            assert child.stdout is not None
            try:
                with child.stdout:
                    for line in child.stdout:
                        if not line.startswith("Progress "):
                            log.write(line)
                            log.flush()
                        seen.line(line.strip())
            except BaseException:
                child.terminate()
                raise
            finally:
                code = child.wait()
                self._child = None
        if self._cancelled.is_set():
            raise errors.Cancelled()
        if code:
            raise explain(seen.text, command, self.log)


class Output:
    """Progress from the output of pip."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._collected = 0
        self._name = ""
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """The last lines of the output."""
        return "\n".join(self._lines[-60:])

    def line(self, line: str) -> None:
        """Parse one line of output."""
        download = re.match(r"Progress (\d+) of (\d+)", line)
        if download:
            done, total = (int(group) / 1e6 for group in download.groups())
            if total > 1:
                self._report_package(f"{self._name} {done:.0f} of {total:.0f} MB", done / total)
            return
        self._lines.append(line)
        found = re.match(r"(Collecting|Downloading|Using cached|Installing collected|Building)\s*(\S*)", line)
        if not found:
            return
        verb, what = found.groups()
        self._collected += verb == "Collecting"
        self._name = re.split(r"[<>=!~;\[-]", what.rpartition("/")[2])[0]
        self._report_package("installing" if verb == "Installing" or "Installing" in verb else self._name, 0.0)

    def _report_package(self, text: str, part: float) -> None:
        # The number of packages is unknown: each takes a share of the remaining progress.
        self._report(1 - 0.95 ** (self._collected + part), text)


def explain(output: str, command: list[str], log: Path) -> errors.SetUpFailed | errors.CannotWrite:
    """Return the error of a child process from its output, with a remedy."""
    lower = output.lower()
    if "no space left" in lower or "errno 28" in lower:
        return errors.CannotWrite("The disk is full: free some space and press Set Up again", remedy=RETRY)
    if "permission denied" in lower or "access is denied" in lower:
        return errors.CannotWrite(
            "Files of the environment cannot be written: close other Blenders and try again", remedy=RETRY
        )
    missing = re.search(r"no matching distribution found for (\S+)", lower)
    network = ("failed to establish", "name resolution", "getaddrinfo", "timed out", "connection aborted", "proxyerror")
    if any(word in lower for word in network):
        return errors.SetUpFailed("The package index cannot be reached: check the network and try again", remedy=RETRY)
    if missing:
        if "--no-index" in command:
            return errors.SetUpFailed(f"The wheels folder lacks {missing[1]}, or has it for another Python or system")
        return errors.SetUpFailed(
            f"There is no package {missing[1]} for Python {platform.python_version()} on {platform.system()} "
            f"{platform.machine()}: choose another PyTorch build in the preferences, or an existing Python",
            remedy=CHOOSE_PYTHON,
        )
    if "hash" in lower and "do not match" in lower:
        return errors.SetUpFailed(
            "A downloaded package is not the one this version of Latent Lathe was locked to: it was damaged on the "
            "way, or the package index serves another file. Nothing of it was installed: try again",
            remedy=RETRY,
        )
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
    return errors.SetUpFailed(f"Set Up failed: {last[:300]} (log: {log})", remedy=errors.Remedy("open_log", "Open Log"))
