"""Start, stop, set up and check the backend. For operators, scripts and background Blender.

Functions that take long return a `Job`; `session.jobs.wait_for(job)` waits for it where no timer runs. `problem_*`
functions return the reason why something is not possible now and what to do, or an empty string.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bpy

from ..link import doctor, environment
from ..link.jobs import Job
from ..link.process import tail
from ..link.session import session
from ..preferences import configure, preferences
from ..scene.settings import models_known
from ..wire import errors

LOG_TEXT = "Lathe Log"


def problem_python(context: Any) -> str:
    """Return why no backend can be started, or an empty string."""
    if session.settings is None or session.settings.python is None:
        return "Set up the backend first: press Set Up, or choose an existing Python"
    return ""


def problem_start(context: Any) -> str:
    """Return why Start is disabled, or an empty string."""
    if session.state in ("starting", "ready"):
        return "The backend is running already" if session.state == "ready" else "The backend is starting"
    return problem_python(context)


def problem_set_up(context: Any) -> str:
    """Return why Set Up is disabled, or an empty string."""
    if session.jobs.find("set_up"):
        return "Set Up is running: cancel it at the top if you want to start over"
    if session.state in ("starting", "ready"):
        return "Stop the backend first: its files are in use"
    if not bpy.app.online_access and not preferences(context).wheels:
        return (
            "Blender may not use the internet: turn on Preferences > System > Allow Online Access, or choose a folder "
            "of wheels in the add-on's preferences"
        )
    return ""


def start_backend(context: Any) -> Job:
    """Start the backend unless it is running, and read its models. Result: the ServerInfo."""
    configure(context)

    def work(job: Job) -> Any:
        session.connect(job)
        return session.server

    return session.jobs.start("Start backend", work, models_known, kind="start", survives_load=True)


def device_changed(context: Any) -> bool:
    """Return whether the running backend uses a device other than the one chosen in the preferences."""
    return session.state == "ready" and session.device != preferences(context).device.lower()


def use_device(context: Any, device: str) -> None:
    """Choose a device, as an item of the preferences' Device, and restart the backend."""
    preferences(context).device = device
    restart_backend(context)


def restart_backend(context: Any) -> Job:
    """Stop the backend if it is running, and start it. Result: the ServerInfo."""
    configure(context)

    def work(job: Job) -> Any:
        session.stop()
        session.connect(job)
        return session.server

    return session.jobs.start("Restart backend", work, models_known, kind="start", survives_load=True)


def stop_backend(context: Any) -> Job:
    """Cancel all jobs and stop the backend."""
    session.jobs.cancel_all()
    return session.jobs.start("Stop backend", lambda job: session.stop(), kind="stop", quiet=True, survives_load=True)


def set_up(context: Any) -> Job:
    """Install the backend's environment, or resume an interrupted installation. Result: the path of its Python."""
    problem = problem_set_up(context)
    if problem:
        raise errors.SetUpFailed(problem)
    settings, chosen = configure(context), preferences(context)
    device = environment.detect_device() if chosen.torch_build == "AUTO" else chosen.torch_build.lower()
    run = environment.SetUp(
        environment.environment_folder(settings.folder),
        settings.root,
        settings.folder / "logs" / "set_up.log",
        base_python=Path(sys.executable),
        device=device,
        index_url=chosen.index_url,
        wheels=Path(bpy.path.abspath(chosen.wheels)) if chosen.wheels else None,
    )

    def work(job: Job) -> str:
        job.when_cancelled(run.cancel)
        return str(run.run(job.report))

    def then(python: str) -> str:
        preferences(bpy.context).python = ""
        configure(bpy.context)
        return python

    return session.jobs.start("Set up", work, then, kind="set_up", survives_load=True)


def check(context: Any) -> Job:
    """Check everything the backend needs. Result: the findings, also in `session.findings`."""
    settings = configure(context)
    online = bpy.app.online_access
    running = session.pid

    def work(job: Job) -> list[doctor.Finding]:
        found = doctor.examine(
            settings.python,
            settings.root,
            settings.folder,
            settings.data,
            port=0 if running else settings.port,
            online=online,
            device=settings.device,
            report=job.report,
        )
        if session.state in ("died", "failed") and session.reason:
            found.append(doctor.Finding("Backend", "fault", session.reason.message, session.reason.remedy))
        elif session.server:
            found.append(doctor.Finding("Backend", "ok", f"Version {session.server.version}, {session.line}"))
        session.findings = found
        return found

    return session.jobs.start("Check", work, kind="doctor", survives_load=True)


def log_files(context: Any) -> list[Path]:
    """Return the log files, newest last."""
    settings = session.settings or configure(context)
    files = [path for path in (settings.folder / "logs").glob("*.log") if path.is_file()]
    return sorted(files, key=lambda path: path.stat().st_mtime)


def open_log(context: Any) -> str:
    """Copy the end of the newest log into the text 'Lathe Log', shown in open text editors. Returns its name."""
    path = log_files(context)[-1]
    text = bpy.data.texts.get(LOG_TEXT) or bpy.data.texts.new(LOG_TEXT)
    text.from_string(f"{path}\n{tail(path, 1 << 16)}")
    for area in context.screen.areas if context.screen else ():
        if area.type == "TEXT_EDITOR":
            area.spaces.active.text = text
    return str(text.name)
