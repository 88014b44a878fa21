#!/usr/bin/env python3
"""Everything one does with a checkout of Latent Lathe, in a few commands.

    python build.py package             dist/latent_lathe-<version>.zip, checked by Blender's own validator
    python build.py demo                the whole main job on the starter model; artefacts in demo/
    python build.py test [pytest ...]   every test that can run on this machine; with arguments, just those tests
    python build.py lock                pin what Set Up installs, with hashes: requirements-lock.txt
    python build.py wheels FOLDER       collect the wheels that `gpu` needs on a machine without network
    python build.py gpu                 tests and benchmarks that need a GPU, with the PyTorch that a machine has

Needs Python 3.11 or newer and nothing else: each command first makes the environment it needs in .venv/ and leaves
it alone when it is there already. All can be interrupted and run again.
"""

# The syntax here stays readable to Python 3.6, so that an old Python gets a sentence instead of a SyntaxError.
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (this file is also met by older ones)
    sys.exit(
        f"Latent Lathe needs Python 3.11 or newer; this is Python {sys.version_info[0]}.{sys.version_info[1]}.\n"
        "Install Python 3.11 and run: python3.11 build.py"
    )

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import tomllib
import urllib.request
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # wherever this file is run from
from addon.link.packages import TORCH_BUILDS, drop_half_installed, python_of  # noqa: E402

DIST = ROOT / "dist"
DEMO = ROOT / "demo"
EXAMPLE = ROOT / "examples" / "demo.py"
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "constraints.txt"

BLENDER_PYTHON = (3, 11)  # the bpy wheel in .venv is built for this Python and no other
BLENDER_PYTHON_NAME = "3.11"
LATER_BLENDER_PYTHON = (3, 13)  # and those from 5.1 on for this one
LOCK = ROOT / "requirements-lock.txt"
TORCH_HASHES = ROOT / "requirements-torch.json"
SPACE_NEEDED = 6e9  # bytes: downloads and installed packages together

PACKAGED = (
    "addon", "backend", "meshing", "blender_manifest.toml", "pyproject.toml", "requirements-lock.txt",
    "requirements-torch.json", "LICENSE", "README.md",
)  # fmt: skip
PACKAGE_INIT = '''"""Latent Lathe, a Blender extension. Written by build.py."""

from .addon import register, unregister

__all__ = ["register", "unregister"]
'''
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same in each build, so that equal sources make equal zips


class Failure(Exception):
    """Something the reader of the terminal must do first; the text says what."""


def say(text: str) -> None:
    print(text, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run one command. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="build.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="package | demo | test | lock | wheels | gpu"
    )
    commands.add_parser("package", help="build and validate the extension")
    commands.add_parser("demo", help="run the main job from the extension to a rendered scene")
    tests = commands.add_parser(
        "test",
        help="run the tests",
        epilog="Anything else goes to pytest: python build.py test tests/meshing -k sphere",
    )
    tests.add_argument("--bpy", metavar="VERSION", help="run the Blender tests in this bpy wheel, such as 5.3.0")
    tests.add_argument(
        "--minimum",
        action="store_true",
        help="run the backend's tests with the lowest versions that pyproject.toml admits",
    )
    commands.add_parser("lock", help="pin every package that Set Up installs, with hashes, for all platforms")
    _add_gpu_commands(commands)
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "test":
        parser.error(f"{options.command} takes no arguments, got: {' '.join(rest)}")
    try:
        if options.command == "package":
            package()
            return 0
        if options.command == "demo":
            return demo()
        if options.command == "lock":
            lock()
            return 0
        if options.command in ("gpu", "wheels"):
            return gpu(options)
        if options.minimum:
            return test_minimum(rest)
        return test(rest, options.bpy)
    except Failure as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to go on.", file=sys.stderr)
        return 130


# --------------------------------------------------------------------------------------------------------- environment


def requirements() -> dict[str, list[str]]:
    """Return the lists of pyproject.toml: "backend", and each extra by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"backend": project["dependencies"], **project["optional-dependencies"]}


def prepare(groups: Iterable[str], venv: Path = VENV) -> Path:
    """Make `venv` with the packages of these groups of requirements. Returns its Python.

    A note in the environment says which lists it fulfils, so a second call costs nothing. An interrupted one goes on.
    """
    lists = requirements()
    pins = CONSTRAINTS.read_text(encoding="utf-8")
    return _fulfil({name: lists[name] for name in groups}, venv, ["-c", str(CONSTRAINTS)], pins)


def prepare_other_blender(bpy: str) -> Path:
    """Make an environment with another version of the bpy wheel and what the tests in it need. Returns its Python.

    Raises Failure where this machine lacks the Python that the wheel is built for.
    """
    lists = requirements()
    runner = [entry for entry in lists["test"] if re.match(r"(pytest|hypothesis)\b", entry)]
    runner += [entry for entry in lists["backend"] if re.match(r"(typer|rich|platformdirs)\b", entry)]  # of --help
    numbers = tuple(int(part) for part in bpy.split("."))
    wanted = BLENDER_PYTHON if numbers < (5, 1) else LATER_BLENDER_PYTHON
    base = find_python(wanted)
    if base is None:
        raise Failure(f"Blender {bpy} needs Python {wanted[0]}.{wanted[1]}, and none was found: not run.")
    return _fulfil({"blender": [f"bpy=={bpy}", *runner]}, ROOT / f".venv-bpy-{bpy}", [], "", base)


def minimum(entries: Iterable[str]) -> list[str]:
    """Return each requirement at the lowest version that its range admits: "torch>=2.10,<3" as "torch==2.10"."""
    return [re.sub(r">=([\w.]+).*", r"==\1", entry) for entry in entries]


def prepare_minimum() -> Path:
    """Make an environment with every dependency of the backend at its lowest version. Returns its Python."""
    lists = requirements()
    wanted = {
        "backend": minimum(lists["backend"]),
        "test": [e for e in lists["test"] if not re.match("ruff|mypy|bpy", e)],
    }
    return _fulfil(wanted, ROOT / ".venv-minimum", [], "")


def _fulfil(
    wanted: dict[str, list[str]],
    venv: Path,
    pip_options: list[str],
    pins: str,
    base_python: Sequence[str] | None = None,
) -> Path:
    python = python_of(venv)
    if not _works(python):
        _create(venv, base_python)
    note = venv / "latent_lathe.json"
    fulfilled = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    digests = {name: hashlib.sha256("\n".join([*wanted[name], pins]).encode()).hexdigest() for name in wanted}
    missing = [name for name in wanted if fulfilled.get(name) != digests[name]]
    if missing:
        started = time.monotonic()
        say(f"Installing {', '.join(missing)} into {venv} (log: {_log(venv)})")
        drop_half_installed(venv)
        _install(python, venv, [*pip_options, *(entry for name in missing for entry in wanted[name])])
        note.write_text(json.dumps({**fulfilled, **digests}, indent=1) + "\n", encoding="utf-8")
        say(f"Installed in {time.monotonic() - started:.0f} s.")
    return python


def _log(venv: Path) -> Path:
    return venv / "install.log"


def _works(python: Path) -> bool:
    if not python.exists():
        return False
    return subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0


def find_python(wanted: tuple[int, int]) -> list[str] | None:
    """Return the command of a Python of this version that can make environments, or None if this machine has none.

    Looked for are this Python, the PATH, Windows' launcher, and what pyenv and uv have installed.
    """
    name = f"{wanted[0]}.{wanted[1]}"
    candidates = [[sys.executable]] if sys.version_info[:2] == wanted else []
    candidates += [[f"python{name}"], ["py", f"-{name}"]]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local" / "share" / "uv" / "python")
    installed = [*pyenv.glob(f"versions/{name}.*/bin/python"), *uv.glob(f"cpython-{name}.*/bin/python")]
    candidates += [[str(path)] for path in sorted(installed)]
    for command in candidates:
        if shutil.which(command[0]) is None:
            continue
        probe = [*command, "-c", "import sys, venv, ensurepip; print(sys.version_info[:2])"]
        answer = subprocess.run(probe, capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip() == str(wanted):
            return command
    return None


def blender_python() -> list[str] | None:
    """Return the command of a Python that the bpy wheel of .venv runs on, or None if this machine has none."""
    return find_python(BLENDER_PYTHON)


def _create(venv: Path, python: Sequence[str] | None = None) -> None:
    free = shutil.disk_usage(ROOT).free
    if free < SPACE_NEEDED:
        raise Failure(
            f"The environment needs about {SPACE_NEEDED / 1e9:.0f} GB; {ROOT} has {free / 1e9:.1f} GB free.\n"
            "Make room there, or move the checkout to another disk, and run this again."
        )
    if venv.exists():
        say(f"The environment in {venv} does not run any more: making it anew.")
        shutil.rmtree(venv)
    python = python or blender_python() or [sys.executable]
    say(f"Making {venv} with {' '.join(python)}")
    answer = subprocess.run([*python, "-m", "venv", str(venv)], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        shutil.rmtree(venv, ignore_errors=True)
        raise Failure(
            f"Python could not make an environment: {(answer.stderr or answer.stdout).strip()}\n"
            "On Debian and Ubuntu, install the package python3-venv (or python3.11-venv) and run this again."
        )


PIP_FAULTS = (
    (
        r"No space left on device|not enough space|disk full",
        f"The disk is full. Make about {SPACE_NEEDED / 1e9:.0f} GB of room and run this again;"
        " it goes on where it stopped.",
    ),
    (
        r"Temporary failure in name resolution|Name or service not known|getaddrinfo failed|Network is unreachable"
        r"|NewConnectionError|ConnectTimeout|ReadTimeout|Max retries exceeded|Connection refused|ProxyError",
        "The Python package index does not answer. Connect to the network (or set pip's proxy or index) and run this"
        " again; what is installed already stays.",
    ),
    (
        r"No matching distribution found|requires a different Python|ResolutionImpossible",
        f"Some package has no build for this Python or this machine. Python {BLENDER_PYTHON_NAME} on 64-bit Windows,"
        " Linux or macOS has all of them.",
    ),
    (r"Permission denied|Access is denied", "The checkout cannot be written. Give yourself the right to write there."),
)


def pip_fault(log: str) -> str:
    """Return the sentence for what went wrong in pip's output: what it is and what to do."""
    for pattern, sentence in PIP_FAULTS:
        if re.search(pattern, log, re.IGNORECASE):
            return sentence
    return "pip failed; its last lines are above."


def _install(python: Path, venv: Path, arguments: list[str]) -> None:
    command = [str(python), "-m", "pip", "install", "--prefer-binary", "--no-compile", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", *arguments]
    package = re.compile(
        r"\s*(?:Downloading|Processing) (?:\S*/)?([\w.]+?)-([\d.]+\d)\S*(?:\.whl|\.gz|\.zip)(?:\s+(.*))?$"
    )
    step = re.compile(r"\s*(Building|Installing collected packages|ERROR)")

    def show(line: str) -> None:
        found = package.match(line)
        if found:
            name, release, size = found.groups()
            say(f"  {name} {release} {size if size and 'B)' in size else ''}")
        elif step.match(line):
            say("  " + line.strip().split(":")[0])

    status, output = run(command, show=show)
    _log(venv).write_text(output, encoding="utf-8")
    if status != 0:
        say("\n".join("  " + line for line in output.splitlines()[-8:]))
        raise Failure(pip_fault(output))


def run(
    command: Sequence[str | Path],
    *,
    env: dict[str, str] | None = None,
    show: Callable[[str], None] | None = None,
) -> tuple[int, str]:
    """Run a command in the checkout. With `show`, its output goes there line by line and is returned.

    An interruption reaches the child from the terminal too; it gets ten seconds to end by itself.
    """
    child = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env={**child_environment(), **(env or {})},
        stdout=subprocess.PIPE if show else None,
        stderr=subprocess.STDOUT if show else None,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    output = []
    try:
        if show and child.stdout:
            with child.stdout:
                for line in child.stdout:
                    output.append(line)
                    show(line)
        return child.wait(), "".join(output)
    except BaseException:
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise


def child_environment() -> dict[str, str]:
    """Return the environment for our own Python processes: bytecode is kept, since each test starts several."""
    env = dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env.pop("PYTHONPATH", None)
    env["PYTHONUNBUFFERED"] = "1"
    env["PYTHONUTF8"] = "1"
    return env


# ------------------------------------------------------------------------------------------------------------- package


def version() -> str:
    return str(tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))["version"])


def package() -> Path:
    """Build, validate and index the extension. Returns the zip."""
    python = prepare(["blender"])
    tool = blender_extension_tool(VENV)
    DIST.mkdir(exist_ok=True)
    target = DIST / f"latent_lathe-{version()}.zip"
    with tempfile.TemporaryDirectory(dir=DIST) as folder:
        partial = Path(folder) / target.name
        count = write_zip(partial)
        _blender(python, tool, "validate", partial)
        os.replace(partial, target)
    _blender(python, tool, "server-generate", "--repo-dir", DIST, "--html")
    say(f"{target.relative_to(ROOT)}: {count} files, {target.stat().st_size / 1e6:.1f} MB, valid")
    say(f"{(DIST / 'index.json').relative_to(ROOT)}: static repository, to be served beside the zip")
    return target


def packaged_files() -> list[Path]:
    """Return the files of the extension, relative to the checkout, sorted."""
    found = []
    for name in PACKAGED:
        path = ROOT / name
        if not path.exists():
            raise Failure(f"{name} is missing from the checkout. Restore it: git checkout -- {name}")
        inside = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        found += [p.relative_to(ROOT) for p in inside]
    hidden = re.compile(r"(^|/)(\.|__pycache__/)|\.(pyc|part|log)$")
    return sorted((p for p in found if not hidden.search(p.as_posix())), key=Path.as_posix)


def write_zip(target: Path) -> int:
    """Write the extension; equal sources make equal bytes. Returns the number of files."""
    entries = {path.as_posix(): (ROOT / path).read_bytes() for path in packaged_files()}
    entries["__init__.py"] = PACKAGE_INIT.encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in sorted(entries.items()):
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data, compresslevel=9)
    return len(entries)


def blender_extension_tool(venv: Path) -> Path:
    """Return Blender's own extension command in the bpy wheel; a plain Python script."""
    found = sorted(venv.glob("**/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not found:
        raise Failure(f"The bpy wheel in {venv.name} has no extension command. Remove that folder and run this again.")
    return found[-1]


def _blender(python: Path, tool: Path, *arguments: str | Path) -> None:
    command = [str(python), str(tool), *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise Failure(f"Blender's extension command refuses the extension:\n{answer.stdout}{answer.stderr}")


# ---------------------------------------------------------------------------------------------------------------- lock

PLATFORMS: tuple[tuple[str, dict[str, str]], ...] = (
    ("linux", {}),
    ("windows", {}),
    ("macos", {"MACOSX_DEPLOYMENT_TARGET": "14.0"}),  # PyAV's and pycolmap's wheels want macOS 14
)
PYTHONS = ("3.11", "3.13")  # those of Blender 4.2 to 5.0 and of 5.1 on


def lock() -> None:
    """Pin every package that Set Up installs: requirements-lock.txt has the versions of constraints.txt with the hashes
    of all their wheels on the package index; requirements-torch.json those of PyTorch's own indexes, which have the
    builds that the package index lacks. An index that does not answer keeps what was known of it."""
    python = prepare(["lock"], ROOT / ".venv-lock")
    uv = [str(python), "-m", "uv", "pip"]
    status, _ = run(
        [*uv, "compile", "--quiet", "--universal", "--generate-hashes", "--python-version", PYTHONS[0], "-c",
         CONSTRAINTS, "--no-header", "--no-annotate", "pyproject.toml", "-o", LOCK]
    )  # fmt: skip
    if status != 0:
        raise Failure("The versions could not be resolved; uv's lines are above.")
    for platform, env in PLATFORMS:
        for version_of_python in PYTHONS:
            command = [
                *uv,
                "install",
                "--quiet",
                "--dry-run",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--no-deps",
            ]
            command += ["--python-platform", platform, "--python-version", version_of_python]
            with tempfile.TemporaryDirectory() as nowhere:
                if run([*command, "--target", nowhere, "-r", LOCK], env=env)[0] != 0:
                    raise Failure(f"{LOCK.name} lacks a wheel for {platform}, Python {version_of_python}; see above.")
    torch = re.search(r"^torch==([\w.]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    assert torch, "the lock has no torch"
    known = json.loads(TORCH_HASHES.read_text(encoding="utf-8")) if TORCH_HASHES.is_file() else {}
    known = {key: entry for key, entry in known.items() if entry["version"] == torch[1]}
    for (device, platform), build in TORCH_BUILDS.items():
        found = index_hashes(build.index, torch[1]) if build.index else None
        if found:
            known[f"{device} {platform}"] = {"version": torch[1], "hashes": found}
    TORCH_HASHES.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    say(f"{LOCK.name}: {len(re.findall('^[a-z].*==', LOCK.read_text(encoding='utf-8'), re.MULTILINE))} packages")
    missing = [f"{d} {p}" for (d, p), build in TORCH_BUILDS.items() if build.index and f"{d} {p}" not in known]
    if missing:
        say(
            f"WITHOUT HASHES of PyTorch {torch[1]}: {', '.join(missing)}. The indexes did not answer or lack this\n"
            "release; Set Up installs these builds without checking them against the lock."
        )


def index_hashes(index: str, release: str) -> list[str] | None:
    """Return the sha256 of every wheel of this release of PyTorch on an index (PEP 503), empty if it has none of them;
    None if it does not answer."""
    try:
        with urllib.request.urlopen(f"{index}/torch/", timeout=30) as answer:
            page = answer.read().decode("utf-8")
    except OSError:
        return None
    wheel = re.compile(rf'href="[^"#]*/torch-{re.escape(release)}(?:%2B|\+|-)[^"#]*\.whl#sha256=([0-9a-f]{{64}})"')
    return sorted(set(wheel.findall(page)))


# ---------------------------------------------------------------------------------------------------------------- demo


def demo() -> int:
    """Install the extension into a fresh Blender and run the main job; artefacts in demo/."""
    started = time.monotonic()
    if not blender_python():
        raise Failure(
            f"The demo runs Blender as a Python module, which needs Python {BLENDER_PYTHON_NAME}; none was found.\n"
            f"Install Python {BLENDER_PYTHON_NAME} and run this again."
        )
    python = prepare(["backend", "blender"])
    ready = time.monotonic()
    say(f"set-up: {ready - started:.1f} s")
    extension = package()
    DEMO.mkdir(exist_ok=True)
    status, _ = run([python, EXAMPLE, "--extension", extension, "--output", DEMO])
    if status == 0:
        say(f"demo: {time.monotonic() - ready:.0f} s without the set-up")
    return status


# --------------------------------------------------------------------------------------------------------------- tests

BLENDER_TESTS = "tests/blender"
ALONE = ("tests/backend/service", BLENDER_TESTS, "tests/window", "tests/end_to_end")
"""Folders whose tests run one after the other: they start processes and measure time, or import bpy."""


@dataclass(frozen=True)
class Check:
    """One step of the test command: a module with its arguments, run by the environment's Python."""

    name: str
    command: tuple[str, ...]
    parallel: bool = False


def checks() -> list[Check]:
    """Return what a whole run does, quick answers first."""
    others = [f"--ignore={folder}" for folder in ALONE]
    return [
        Check("ruff check", ("ruff", "check", ".")),
        Check("ruff format", ("ruff", "format", "--check", ".")),
        Check("mypy", ("mypy",)),
        Check(
            "pure",
            ("pytest", "--durations=30", "-n", "logical", "--maxprocesses", "4", "tests", *others),
            parallel=True,
        ),
        *(Check(Path(folder).name, ("pytest", "--durations=10", folder)) for folder in ALONE),
    ]


def test(arguments: list[str], bpy: str | None) -> int:
    """Run the checks and tests. Returns 0 if all passed."""
    if bpy is not None:
        return test_blender(bpy, arguments)
    python = prepare(["backend", "test", "blender"] if blender_python() else ["backend", "test"])
    if arguments:
        return run([python, "-m", "pytest", *arguments])[0]
    return run_checks(python, checks())


def test_minimum(arguments: list[str]) -> int:
    """Run the tests of the backend with every dependency at its lowest version; those inside Blender are not touched
    by it. Returns 0 if all passed."""
    python = prepare_minimum()
    if arguments:
        return run([python, "-m", "pytest", *arguments])[0]
    return run_checks(python, [check for check in checks() if check.name in ("pure", "service")])


def run_checks(python: Path, wanted: Sequence[Check]) -> int:
    """Run checks one after the other and print what passed, failed and was left out. Returns 0 if all passed."""
    totals: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    failed = []
    for check in wanted:
        say(f"\n=== {check.name}")
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            env = {"LATENT_LATHE_TEST_REPORT": str(report)}
            if check.parallel:  # a thread for each of several processes
                env |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            status, _ = run([python, "-m", *check.command], env=env)
            if report.exists():
                found = json.loads(report.read_text(encoding="utf-8"))
                totals.update(found["totals"])
                left_out.update(found["left_out"])
        if status != 0:
            failed.append(check.name)
        say(f"=== {check.name}: {'FAILED' if status else 'ok'} in {time.monotonic() - started:.0f} s")
    say("")
    for reason, count in sorted(left_out.items()):
        say(f"left out: {count} tests ({reason})")
    say("Failed: " + ", ".join(failed) if failed else "Every check passed.")
    wrong = totals["failed"] + totals["error"]
    say(f"{totals['passed']} passed, {wrong} failed, {totals['skipped']} skipped")
    return 1 if failed else 0


def test_blender(bpy: str, arguments: list[str]) -> int:
    """Run the tests of the Blender side in another version of the bpy wheel, in an environment of its own."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", bpy):
        raise Failure(f"--bpy takes a version with three numbers, such as 5.0.1 or 4.2.23, got {bpy}")
    backend = prepare(["backend", "test", "blender"])
    package()
    python = prepare_other_blender(bpy)
    env = {"LATENT_LATHE_BACKEND_PYTHON": str(backend)}  # the add-on starts its backend with this one
    status, _ = run([python, "-m", "pytest", BLENDER_TESTS, *arguments], env=env)
    return status


# ----------------------------------------------------------------------------------------------------------------- gpu


def _add_gpu_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    wheels = commands.add_parser("wheels", help="download the wheels that `gpu` needs on a machine without network")
    wheels.add_argument("folder", type=Path, metavar="FOLDER")
    wheels.add_argument("--python", default="3.12", help="Python of that machine (3.12)")
    wheels.add_argument("--machine", default="x86_64", choices=("x86_64", "aarch64"), help="its processor (x86_64)")
    parser = commands.add_parser("gpu", help="run the tests and benchmarks that need a GPU, on any PyTorch")
    parser.add_argument("--wheels", type=Path, metavar="FOLDER", help="install from this folder, without network")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="cpu rehearses the command")
    parser.add_argument("--tiny", action="store_true", help="small sizes in the benchmarks")


def gpu(options: argparse.Namespace) -> int:
    """Run the command `gpu` or `wheels`, see build_gpu.py."""
    import build_gpu

    entries = build_gpu.packages(requirements())
    try:
        if options.command == "wheels":
            return build_gpu.wheels(options.folder, entries, options.python, options.machine)
        return build_gpu.gpu(ROOT, entries, folder=options.wheels, device=options.device, tiny=options.tiny)
    except build_gpu.Failure as failure:
        raise Failure(str(failure)) from failure


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
