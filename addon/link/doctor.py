"""Check of everything the backend needs, with a remedy for each fault. Does not import bpy."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..wire.errors import LatheError, Remedy
from .environment import NEEDED_GIGABYTES, detect_device, requirements
from .process import CHOOSE_PYTHON, MINIMUM_PYTHON, SET_UP, clean_environment, quiet_child

PROBE = """
import json, sys, platform
found = {"python": sys.version.split()[0], "machine": platform.machine(), "packages": {}, "device": "", "fault": ""}
from importlib import metadata
for name in sys.argv[1:]:
    try:
        found["packages"][name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        found["packages"][name] = ""
try:
    import torch
    found["cuda"] = torch.version.cuda or ""
    found["hip"] = getattr(torch.version, "hip", None) or ""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found["device"] = "%s, %.1f of %.1f GB free" % (torch.cuda.get_device_name(0), free / 1e9, total / 1e9)
    elif getattr(torch.backends, "mps", None) and torch.backends.mps.is_available():
        found["device"] = "Apple GPU"
    torch.ones(2).sum().item()
except Exception as error:
    found["fault"] = "%s: %s" % (type(error).__name__, error)
print("LATHE " + json.dumps(found))
"""


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    name: str
    verdict: Literal["ok", "warning", "fault"]
    text: str
    remedy: Remedy | None = None


def examine(
    python: Path | None,
    root: Path,
    folder: Path,
    data: Path | None,
    *,
    port: int = 0,
    online: bool = True,
    device: str = "auto",
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> list[Finding]:
    """Run all checks. Takes as long as importing torch."""
    findings: list[Finding] = []
    parts: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Extension", lambda: _extension(root)),
        ("Folders", lambda: _folders(folder, data)),
        ("Network", lambda: _network(port, online, python)),
        ("Python", lambda: _python(python, root, device)),
    ]
    for index, (name, part) in enumerate(parts):
        report(index / len(parts), name)
        try:
            findings.extend(part())
        except LatheError as error:
            findings.append(Finding(name, "fault", error.message, error.remedy))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            findings.append(Finding(name, "fault", f"{type(error).__name__}: {error}"))
    return findings


def _extension(root: Path) -> Iterator[Finding]:
    missing = [name for name in ("backend/__main__.py", "meshing", "pyproject.toml") if not (root / name).exists()]
    if missing:
        yield Finding("Extension", "fault", f"{root} lacks {', '.join(missing)}: install the extension again")
    else:
        yield Finding("Extension", "ok", "Complete")


def _folders(folder: Path, data: Path | None) -> Iterator[Finding]:
    for name, place in (("Environment folder", folder), ("Data folder", data)):
        if place is None:
            continue
        try:
            place.mkdir(parents=True, exist_ok=True)
            probe = place / f".probe{time.time_ns()}"
            probe.write_bytes(b"lathe")
            probe.unlink()
            yield Finding(name, "ok", f"{place} can be written")
        except OSError as error:
            yield Finding(
                name, "fault", f"{place} cannot be written ({error.strerror or error}): change its permissions"
            )
            continue
        free = shutil.disk_usage(place).free / 1e9
        needed = NEEDED_GIGABYTES[detect_device()]
        if free < 0.5:
            yield Finding("Disk", "fault", f"{free:.1f} GB free at {place}: free some space")
        elif free < needed:
            yield Finding("Disk", "warning", f"{free:.1f} GB free at {place}; Set Up may need {needed:g} GB")
        else:
            yield Finding("Disk", "ok", f"{free:.0f} GB free")


def _network(port: int, online: bool, python: Path | None) -> Iterator[Finding]:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind(("127.0.0.1", port))
        yield Finding("Port", "ok", f"Port {port} is free" if port else "The system gives free ports")
    except OSError as error:
        text = f"Port {port} on 127.0.0.1 cannot be used ({error.strerror}): let the system choose one"
        yield Finding("Port", "warning", text, Remedy("any_port", "Use Any Free Port"))
    if not online and python is None:
        yield Finding(
            "Online access",
            "warning",
            "Blender may not use the internet: allow it for Set Up, or choose a wheels folder in the preferences",
            Remedy("allow_online", "Allow Online Access"),
        )


def _python(python: Path | None, root: Path, device: str) -> Iterator[Finding]:
    if python is None:
        yield Finding("Python", "fault", "There is no environment yet: press Set Up", SET_UP)
        return
    if not python.is_file():
        yield Finding("Python", "fault", f"There is no Python at {python}: press Set Up or choose another", SET_UP)
        return
    names = [_name(line) for line in requirements(root)]
    answer = subprocess.run(
        [str(python), "-c", PROBE, *names],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        **quiet_child(),
    )
    line = next((line for line in answer.stdout.splitlines() if line.startswith("LATHE ")), "")
    if not line:
        last = (answer.stderr.strip().splitlines() or ["no output"])[-1]
        yield Finding("Python", "fault", f"{python} does not run: {last}", CHOOSE_PYTHON)
        return
    found = json.loads(line.removeprefix("LATHE "))
    version = tuple(int(part) for part in found["python"].split(".")[:2])
    if version < MINIMUM_PYTHON:
        needed = ".".join(map(str, MINIMUM_PYTHON))
        yield Finding("Python", "fault", f"Python {found['python']} is too old; {needed} is needed", CHOOSE_PYTHON)
    else:
        yield Finding("Python", "ok", f"{found['python']}, {python}")
    lacking = [name for name, version in found["packages"].items() if not version]
    if lacking:
        yield Finding("Packages", "fault", f"{', '.join(lacking)} missing: press Set Up", SET_UP)
    else:
        yield Finding("Packages", "ok", f"All {len(names)} are there")
    yield from _torch(found, device)


def _torch(found: dict[str, Any], device: str) -> Iterator[Finding]:
    version = found["packages"].get("torch", "")
    if found["fault"]:
        if version:
            yield Finding("PyTorch", "fault", f"{version} does not load: {found['fault']}", SET_UP)
        return
    yield Finding("PyTorch", "ok", version)
    here = detect_device()
    if found["device"]:
        yield Finding("Device", "ok", found["device"])
    elif here == "cuda" and not found.get("cuda"):
        text = "There is an NVIDIA card, but this PyTorch cannot use it: set PyTorch to CUDA and press Set Up"
        yield Finding("Device", "warning", text, SET_UP)
    elif here == "rocm" and not found.get("hip"):
        text = "There is an AMD card, but this PyTorch cannot use it: set PyTorch to ROCm and press Set Up"
        yield Finding("Device", "warning", text, SET_UP)
    elif here in ("cuda", "rocm"):
        yield Finding("Device", "warning", "PyTorch does not see the graphics card: update its driver")
    elif device in ("cuda", "mps"):
        text = f"{device.upper()} is chosen, but PyTorch has no such device here: set Device to Automatic"
        yield Finding("Device", "fault", text, Remedy("use_auto_device", "Set Device to Automatic"))
    else:
        yield Finding("Device", "ok", "Processor (no graphics card for PyTorch found)")


def _name(requirement: str) -> str:
    return requirement.split(";")[0].split("[")[0].split("<")[0].split(">")[0].split("=")[0].split("~")[0].strip()
