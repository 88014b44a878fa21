"""Completion of scanned points, and training of a shape network on a mesh."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..backend.actions import problem_python
from ..link.client import Client
from ..link.jobs import Job
from ..link.session import session
from ..models.actions import problem_capability
from ..preferences import configure
from ..scene import apply, gather
from ..scene.apply import Handle
from ..scene.gather import Subject, subject
from ..scene.settings import set_model
from ..wire import errors
from ..wire.messages import (
    CompleteRequest,
    FitShapeRequest,
    LatentResult,
)
from .actions import finisher
from .codes import with_code


def problem_complete(context: Any) -> str:
    """Return why no scan can be completed, or an empty string."""
    problem = problem_capability(context, "complete")
    if problem:
        return problem
    active = context.active_object
    if active is None or active.type != "MESH":
        return "Select a mesh object: its vertices are the scan"
    return ""


def problem_fit(context: Any) -> str:
    """Return why no network can be trained on the active object, or an empty string."""
    problem = problem_python(context)
    if problem:
        return problem
    if session.jobs.find("fit_shape"):
        return "A fit is running: wait for it or cancel it at the top"
    active = context.active_object
    if active is None or active.type != "MESH":
        return "Select a mesh object"
    return ""


def complete(context: Any) -> Job:
    """Find the shape that fits the active object's points and mesh it in the object's place.

    Result: the new object's name. Raises InvalidRequest.
    """
    problem = problem_complete(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    chosen = subject(context)
    info = chosen.model
    scan_object, scene = context.active_object, context.scene
    scan = gather.scan(scan_object, info)
    iterations, seed = scene.lathe.complete.iterations, scene.lathe.complete.seed
    world = np.array(scan_object.matrix_world)
    mesh = gather.mesh_request(Subject(chosen.settings, None, world))
    found: dict[str, Any] = {}
    finish = finisher(Subject(chosen.settings, None, world), scene, None, f"{scan_object.name} completed", found)

    def run(job: Job, client: Client) -> apply.PreparedMesh:
        job.report(0.0, "Sending the scan")
        blob = client.upload(scan)
        answer: LatentResult = job.ask(client, CompleteRequest(info.name, blob, iterations, seed), start=0.02, end=0.7)
        request = with_code(client, mesh, answer.ws, found)
        return apply.prepare_mesh(job.ask(client, request, start=0.7, end=0.97))

    return session.start(f"Complete {scan_object.name}", run, finish, kind="complete")


def fit_shape(context: Any) -> Job:
    """Train a network on the active mesh. Result: the name of the new model, which becomes the scene's.

    Raises InvalidRequest.
    """
    problem = problem_fit(context)
    if problem:
        raise errors.InvalidRequest(problem)
    configure(context)
    item, scene = context.active_object, context.scene
    if item.mode == "EDIT":
        item.update_from_editmode()
    mesh = gather.triangles(item, context.evaluated_depsgraph_get())
    settings = scene.lathe.fit
    name = settings.name or re.sub(r"[^A-Za-z0-9_.-]+", "_", item.name).strip("_.-") or "shape"
    scene_handle = Handle.of("scenes", scene)
    steps, preset, seed = settings.steps, settings.preset.lower(), settings.seed

    def run(job: Job, client: Client) -> str:
        job.report(0.0, "Sending the mesh")
        request = FitShapeRequest(name, client.upload(mesh), steps, preset, seed)
        result = job.ask(client, request, start=0.02)
        session.refresh_models(client)
        return str(result.name)

    def then(model: str) -> str:
        found = scene_handle.find()
        if found is not None and model in session.models:
            set_model(found.lathe, session.models[model])
            apply.undo_push(f"Lathe: model {model}")
        return model

    return session.start(
        f"Fit {item.name}",
        run,
        then,
        kind="fit_shape",
        survives_load=True,
    )
