"""The commands `gpu` and `wheels` of build.py: tests and benchmarks that need a GPU, on a machine without network.

A rented machine comes with a Python, a PyTorch for its GPU, and often nothing else. `gpu` makes an environment that
sees that PyTorch (and its numpy), installs the other packages from a folder of wheels, and runs the tests marked `gpu`
and two benchmarks. `wheels` fills that folder on a machine with network. `gpu --device cpu --tiny` rehearses all of it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

VENV = ".venv-gpu"
REPORT = "dist/gpu-report.json"
DEVICES = ("cuda", "cpu")
PYTHON = "3.12"  # of the machines planned for
KEPT = ("torch", "numpy")  # the machine's own, never replaced
NOT_NEEDED = ("torch", "ruff", "mypy", "clang-format")  # the machine's own, and tools for the sources
GLIBC = range(5, 35)  # minor versions of glibc 2 that wheels may ask for; Ubuntu 22.04 has 35


class Failure(Exception):
    """Something the reader of the terminal must do first; the text says what."""


@dataclass
class Step:
    """Result of one step of `gpu`."""

    name: str
    ok: bool
    seconds: float
    summary: str
    result: dict[str, Any] = field(default_factory=dict)


def say(text: str) -> None:
    print(text, flush=True)


def packages(lists: dict[str, list[str]]) -> list[str]:
    """Return the requirements of the backend and its tests that are installed beside the machine's PyTorch."""
    return [entry for entry in [*lists["backend"], *lists["test"]] if name_of(entry) not in NOT_NEEDED]


def name_of(requirement: str) -> str:
    """Return the normalized name of a requirement, or of a wheel's file name up to the first "-"."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]*\w", requirement)[0].lower())  # type: ignore[index]


# -------------------------------------------------------------------------------------------------------------- wheels


def wheels(folder: Path, entries: Sequence[str], python: str = PYTHON, machine: str = "x86_64") -> int:
    """Download wheels of these requirements, and of all that they require, for Linux. Returns the exit status.

    Raises Failure where pip is missing, or cannot get all of them.
    """
    if not re.fullmatch(r"3\.\d+", python):
        raise Failure(f"--python takes a version such as 3.12, got {python}")
    folder.mkdir(parents=True, exist_ok=True)
    tags = [f"manylinux_2_{minor}" for minor in reversed(GLIBC)] + ["manylinux2014", "manylinux2010", "manylinux1"]
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check", "-q"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    command += [option for tag in tags for option in ("--platform", f"{tag}_{machine}")]
    say(f"Downloading wheels for Python {python} on Linux {machine} into {folder}")
    answer = subprocess.run([*command, *entries], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise Failure(f"pip could not download all wheels:\n{_tail(answer.stdout + answer.stderr)}")
    found = sorted(folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in found) / 1e6
    say(f"{len(found)} wheels, {size:.0f} MB. On the machine with the GPU: python build.py gpu --wheels {folder.name}")
    return 0


def missing_wheels(entries: Iterable[str], folder: Path, installed: Iterable[str]) -> list[str]:
    """Return the names of the requirements that are neither installed nor in the folder."""
    there = {name_of(path.name.split("-")[0]) for path in folder.glob("*.whl")} | {name_of(name) for name in installed}
    return [name for name in map(name_of, entries) if name not in there]


# ----------------------------------------------------------------------------------------------------------------- gpu

PROBE = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version(), "machine": platform.platform(), "torch": None}
found["installed"] = {}
for d in importlib.metadata.distributions():  # of several with one name, the first is imported
    if d.metadata["Name"]:
        found["installed"].setdefault(d.metadata["Name"], d.version)
try:
    import torch
except ImportError as error:
    found["why"] = str(error)
else:
    found.update(torch=torch.__version__, site=str(__import__("pathlib").Path(torch.__file__).parent.parent))
    found.update(built_for_cuda=torch.version.cuda, cuda=torch.cuda.is_available())
    if found["cuda"]:
        found.update(gpu=torch.cuda.get_device_name(0), capability=list(torch.cuda.get_device_capability(0)))
        found["gpu_memory_gb"] = round(torch.cuda.mem_get_info(0)[1] / 1e9, 1)
print("PROBE " + json.dumps(found))
"""


def gpu(root: Path, entries: Sequence[str], *, folder: Path | None, device: str = "cuda", tiny: bool = False) -> int:
    """Make the environment, run the tests and benchmarks, print a summary and write REPORT. Returns the exit status.

    Args:
        root: the checkout.
        entries: requirements, without PyTorch.
        folder: of wheels; None: packages come from the network.
        device: "cuda", or "cpu" to rehearse.
        tiny: small sizes in the benchmarks.

    Raises:
        Failure: no PyTorch, no CUDA device, or wheels are missing: nothing can be run.
    """
    if folder is not None and not folder.is_dir():
        raise Failure(
            f"There is no folder {folder}. Make it on a machine with network: python build.py wheels {folder}"
        )
    machine = probe([sys.executable])
    check(machine, device)
    steps: list[Step] = []
    python = root / VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    steps.append(_step("environment", lambda: environment(root / VENV, python, machine, entries, folder)))
    if steps[0].ok:
        options = ["--device", device, "--json", *(["--tiny"] if tiny else [])]
        runs = {
            "device": lambda: chosen(root, python, device),
            "tests": lambda: tests(root, python),
            "bench nerf": lambda: bench(root, python, ["nerf", *options]),
            "bench generators": lambda: bench(root, python, ["generators", *options]),
        }
        for name, work in runs.items():
            steps.append(_step(name, work))
            write_report(root, machine, steps)  # an interrupted run keeps what it has
    write_report(root, machine, steps)
    say("")
    for step in steps:
        say(f"{'ok    ' if step.ok else 'FAILED'} {step.name}: {step.summary} ({step.seconds:.0f} s)")
    if not steps[0].ok:
        say("not run: tests, bench nerf, bench generators")
    say(f"Report: {root / REPORT}")
    return 0 if all(step.ok for step in steps) else 1


def probe(python: Sequence[str]) -> dict[str, Any]:
    """Return what a Python has: its version, packages, PyTorch and GPU."""
    answer = subprocess.run([*python, "-c", PROBE], capture_output=True, text=True, check=False)
    lines = [line for line in answer.stdout.splitlines() if line.startswith("PROBE ")]
    if not lines:
        raise Failure(f"{python[0]} does not run:\n{_tail(answer.stderr)}")
    return dict(json.loads(lines[-1].removeprefix("PROBE ")))


def check(machine: dict[str, Any], device: str) -> None:
    """Raise Failure where PyTorch or the device is missing."""
    if machine["torch"] is None:
        raise Failure(
            f"This Python ({sys.executable}) has no PyTorch ({machine['why']}). Run the command with the Python that"
            " has the machine's PyTorch, or install one there."
        )
    say(f"Python {machine['python']}, PyTorch {machine['torch']}, built for CUDA {machine['built_for_cuda']}")
    if device == "cuda" and not machine["cuda"]:
        raise Failure(
            f"PyTorch {machine['torch']} sees no CUDA device. nvidia-smi shows whether the driver does; `--device cpu`"
            " rehearses the command without one."
        )
    if machine["cuda"]:
        say(f"{machine['gpu']}, {machine['gpu_memory_gb']} GB, compute capability {machine['capability']}")


def environment(
    venv: Path, python: Path, machine: dict[str, Any], entries: Sequence[str], folder: Path | None
) -> tuple[bool, str, dict[str, Any]]:
    """Make an environment that sees the machine's packages, and install the others."""
    if python.exists() and probe([str(python)])["python"] != machine["python"]:
        say(f"{venv} was made by another Python: making it anew.")
        shutil.rmtree(venv)
    if not python.exists():
        _quietly([sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(venv)])
    (site,) = [*venv.glob("lib/python3*/site-packages"), *venv.glob("Lib/site-packages")]
    # Where the machine's Python is in an environment itself, the new one sees what is behind that, and not PyTorch.
    (site / "machine.pth").write_text(machine["site"] + "\n", encoding="utf-8")
    if subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode != 0:
        _quietly([str(python), "-m", "ensurepip"])
    seen = probe([str(python)])
    if folder is not None and (missing := missing_wheels(entries, folder, seen["installed"])):
        raise Failure(
            f"Wheels are missing in {folder}: {', '.join(missing)}. On a machine with network:"
            f" python build.py wheels {folder.name} --python {'.'.join(machine['python'].split('.')[:2])}"
        )
    kept = [f"{name}=={seen['installed'][name]}" for name in KEPT if name in seen["installed"]]
    constraints = venv / "constraints.txt"
    constraints.write_text("\n".join([*kept, ""]), encoding="utf-8")
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--prefer-binary",
        "-q",
    ]
    command += ["-c", str(constraints), *(["--no-index", "--find-links", str(folder)] if folder else [])]
    _quietly([*command, *entries])
    after = probe([str(python)])
    if after["torch"] != machine["torch"]:
        raise Failure(f"The environment sees PyTorch {after['torch']} instead of the machine's {machine['torch']}.")
    new = {name: version for name, version in after["installed"].items() if name not in seen["installed"]}
    return True, f"{len(new)} packages beside PyTorch {after['torch']}", {"kept": kept, "installed": new}


def chosen(root: Path, python: Path, device: str) -> tuple[bool, str, dict[str, Any]]:
    """Let the backend choose the device and say all that depends on it."""
    code = f"from backend.device import choices, device_of; print(choices(device_of({device!r})))"
    status, output, errors = run([python, "-c", code], root)
    line = output.strip().splitlines()[-1] if status == 0 and output.strip() else _tail(errors, 1)
    return status == 0, line, {"choices": line}


def tests(root: Path, python: Path) -> tuple[bool, str, dict[str, Any]]:
    """Run the tests that are marked `gpu`. Warnings of another version of PyTorch are no errors here."""
    report = root / VENV / "tests.json"
    report.unlink(missing_ok=True)
    command = [str(python), "-m", "pytest", "-m", "gpu", "-W", "default", "-q", "tests/backend"]
    status, output, errors = run(command, root, {"LATENT_LATHE_TEST_REPORT": str(report)}, echo=True)
    if not report.exists():
        return False, _tail(output + errors, 1), {"output": _tail(output + errors, 100)}
    found = json.loads(report.read_text(encoding="utf-8"))
    totals = found["totals"]
    summary = f"{totals['passed']} passed, {totals['failed'] + totals['error']} failed, {totals['skipped']} skipped"
    left_out = "; ".join(f"{count} {reason}" for reason, count in found["left_out"].items())
    summary += f" ({left_out})" if left_out else ""
    return status == 0, summary, {**found, "output": "" if status == 0 else _tail(output, 200)}


def bench(root: Path, python: Path, arguments: Sequence[str]) -> tuple[bool, str, dict[str, Any]]:
    """Run a benchmark and print its rows."""
    status, output, errors = run([python, "-m", "backend", "bench", *arguments], root)
    try:
        rows = json.loads(output)
    except json.JSONDecodeError:
        return False, _tail(errors + output, 1) or f"ended with {status}", {"output": _tail(errors + output, 100)}
    for row in rows:
        say(f"  {row['measure']}: {row['value']:.4g} {row['unit']}")
    failed = [row["measure"] for row in rows if not row["ok"] and row["bar"] is None]  # not: a target was missed
    summary = f"{len(rows)} figures" + (f"; {'; '.join(failed)}" if failed else "")
    return status == 0 and not failed, summary, {"rows": rows}


def write_report(root: Path, machine: dict[str, Any], steps: Sequence[Step]) -> None:
    """Write REPORT: the machine, and each step with its result."""
    path = root / REPORT
    path.parent.mkdir(exist_ok=True)
    data = {"machine": machine, "host": platform.node(), "steps": [asdict(step) for step in steps]}
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _step(name: str, work: Any) -> Step:
    say(f"\n=== {name}")
    started = time.monotonic()
    try:
        ok, summary, result = work()
    except Failure as failure:
        ok, summary, result = False, str(failure), {}
    except (OSError, ValueError) as error:
        ok, summary, result = False, f"{type(error).__name__}: {error}", {}
    return Step(name, ok, round(time.monotonic() - started, 1), summary, result)


def run(
    command: Sequence[str | Path], root: Path, env: dict[str, str] | None = None, *, echo: bool = False
) -> tuple[int, str, str]:
    """Run a command in the checkout. Returns its status, stdout and stderr, which is shown as it comes.

    echo: show stdout, too.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", **(env or {})}
    environment.pop("PYTHONPATH", None)
    child = subprocess.Popen(
        [str(part) for part in command],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert child.stdout is not None and child.stderr is not None
    errors: list[str] = []

    def follow(stream: Any) -> None:
        for line in stream:
            errors.append(line)
            sys.stderr.write(line)

    thread = threading.Thread(target=follow, args=(child.stderr,), daemon=True)
    thread.start()
    output = []
    for line in child.stdout:
        output.append(line)
        if echo:
            say(line.rstrip())
    status = child.wait()
    thread.join(timeout=5)
    return status, "".join(output), "".join(errors)


def _quietly(command: Sequence[str]) -> None:
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise Failure(f"{' '.join(command[:4])} … failed: {_tail(answer.stdout + answer.stderr, 3)}")


def _tail(text: str, lines: int = 8) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
