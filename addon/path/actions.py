"""Render an animation into PNG files."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

import bpy
import numpy as np

from ..link.client import Client
from ..link.jobs import Job, Steps
from ..link.session import session
from ..models.actions import problem_model
from ..preferences import configure, user_folder
from ..scene import gather, png
from ..scene.apply import Handle
from ..scene.gather import Subject, subject
from ..shape.codes import stored_codes, upload_codes
from ..wire import errors
from ..wire.messages import (
    RenderRequest,
)


def problem_path(context: Any) -> str:
    """Return why no path can be rendered, or an empty string."""
    problem = problem_model(context)
    if problem:
        return problem
    if context.scene.lathe.path.source == "CAMERA" and context.scene.camera is None:
        return "The scene has no active camera: press Add Camera and animate it, or choose Through: Sliders"
    if session.jobs.find("path"):
        return "A path is being rendered: wait for it or cancel it at the top"
    if not context.scene.lathe.path.directory:
        return "Choose a folder for the frames"
    return ""


def render_path(context: Any) -> Job:
    """Render the animation, through the active camera or the sliders, into PNG files. Result: the folder.

    The scene is read first, a few frames a tick; after that nothing is read from it, so editing may go on. Frames whose
    file exists are skipped unless Overwrite is on.
    """
    problem = problem_path(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    scene = context.scene
    settings = scene.lathe.path
    folder = path_folder(context)
    frames = list(range(scene.frame_start, scene.frame_end + 1, scene.frame_step))
    wanted = [frame for frame in frames if settings.overwrite or not frame_file(folder, frame).exists()]
    chosen = subject(context)
    requests: list[RenderRequest] = []
    reading = _read_path(
        Handle.of("scenes", scene),
        Handle.of("objects", chosen.object) if chosen.object is not None else None,
        wanted,
        settings.quality.lower(),
        requests,
        settings.source == "SLIDERS",
    )
    codes = stored_codes(chosen)

    def work(job: Job) -> str:
        done = len(frames) - len(wanted)
        if requests:
            session.using(job, lambda client: _render_frames(job, client, codes, wanted, requests, folder, done))
        return str(folder)

    return session.jobs.start(f"Camera path, {len(frames)} frames", work, kind="path", prepare=reading)


def path_folder(context: Any) -> Path:
    """Return the folder of the frames."""
    return own_folder(context.scene.lathe.path.directory)


def own_folder(directory: str) -> Path:
    """Return the folder that a property names. In a file that was never saved, // is a folder of this extension that
    belongs to the running Blender."""
    if directory.startswith("//") and not bpy.data.filepath:
        return user_folder() / "unsaved" / Path(bpy.app.tempdir).name / directory[2:]
    return Path(bpy.path.abspath(directory))


def frame_file(folder: Path, frame: int) -> Path:
    """Return the file of a frame."""
    return folder / f"{frame:04d}.png"


def _read_path(
    scene_handle: Handle,
    target: Handle | None,
    wanted: list[int],
    quality: Literal["draft", "full"],
    requests: list[RenderRequest],
    sliders: bool = False,
) -> Steps:
    """Append the request of each frame to `requests`, one frame a step, and restore the current frame at the end."""
    scene = scene_handle.get()
    before = scene.frame_current, scene.frame_subframe
    try:
        for frame in wanted:
            scene = scene_handle.get()
            scene.frame_set(frame)
            view_layer = bpy.context.view_layer if bpy.context.scene == scene else scene.view_layers[0]
            depsgraph = view_layer.depsgraph
            if target is None:
                settings, world = depsgraph.scene_eval.lathe, gather.placed_at_cursor(scene)
            else:
                item = target.get().evaluated_get(depsgraph)
                settings = item.lathe
                world = gather.world_from_field(item) if settings.is_field else np.array(item.matrix_world)
            chosen, size = Subject(settings, None, world), gather.render_size(scene)
            if sliders:
                seen = gather.seen_through_sliders(chosen, *size)
            else:
                seen = gather.scene_ref(chosen), gather.scene_camera(scene, depsgraph, *size)
            requests.append(RenderRequest(*seen, quality))
            yield
    finally:
        found = scene_handle.find()
        if found is not None:
            found.frame_set(before[0], subframe=before[1])


def _render_frames(
    job: Job,
    client: Client,
    codes: dict[str, str],
    wanted: list[int],
    requests: list[RenderRequest],
    folder: Path,
    done: int,
) -> None:
    """Render frame after frame, always with the next one queued, so that the backend never idles."""
    upload_codes(client, codes)
    total = done + len(wanted)
    upcoming = ""
    try:
        for index, frame in enumerate(wanted):
            job.report((done + index) / total, f"Frame {done + index + 1} of {total}")
            current = upcoming or client.submit(requests[index])
            upcoming = client.submit(requests[index + 1]) if index + 1 < len(wanted) else ""
            part = (done + index) / total
            result = job.collect(client, current, start=part, end=part + 1 / total)
            png.write(frame_file(folder, frame), result.rgba)
    finally:
        if upcoming:
            with contextlib.suppress(errors.LatheError):  # a dead backend has cancelled it already
                client.cancel(upcoming)
