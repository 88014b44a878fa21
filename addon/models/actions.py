"""Choose a model and refresh the list."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend.actions import problem_python
from ..link.jobs import Job
from ..link.session import session
from ..preferences import configure
from ..scene import gather
from ..scene.gather import subject
from ..scene.settings import models_known, set_model
from ..translations import translated
from ..wire.messages import ModelInfo

CANNOT = {
    "complete": "{model} cannot complete scans: choose a model that can",
    "image_to_shape": "{model} cannot turn images into shapes: choose a model that can",
    "transfer_texture": "{model} cannot take textures from images: choose a model that can",
}
"""Reason why a task is not possible with a model, by the capability that it lacks."""


def problem_model(context: Any) -> str:
    """Return why nothing can be generated, or an empty string."""
    problem = problem_python(context)
    if problem:
        return problem
    if not session.models:
        return "No models are known yet: start the backend"
    chosen = subject(context)
    if not chosen.settings.model:
        return "Choose a model"
    if chosen.info is None:
        return translated(
            "The backend has no model {model}: choose another or refresh the list", model=chosen.settings.model
        )
    return ""


def problem_capability(context: Any, capability: str) -> str:
    """Return why the subject's model cannot do a task, or an empty string."""
    problem = problem_model(context)
    if not problem and capability not in subject(context).model.capabilities:
        return translated(CANNOT[capability], model=subject(context).model.label)
    return problem


def refresh_models(context: Any) -> Job:
    """Read the list of models from the backend again."""
    configure(context)
    return session.start(
        "Read models",
        lambda job, client: session.refresh_models(client),
        models_known,
        kind="models",
        quiet=True,
        survives_load=True,
    )


def choose_model(context: Any, name: str) -> None:
    """Give the subject this model, with the model's controls at their defaults.

    A radiance field cannot change its model: if one is active, the model of new shapes is set. Raises InvalidRequest.
    """
    chosen = context.scene.lathe if gather.field_object(context) else subject(context).settings
    info = gather.known_model(name)
    set_model(chosen, info)
    suit_view(context.scene, info)


def suit_view(scene: Any, info: ModelInfo) -> None:
    """Choose preview settings that suit a model.

    A model trained from one side (faces, say) is previewed through the sliders, since a viewport seldom looks from
    there. For a model with separate shape and texture codes, depth and silhouette are shown beside the image.
    """
    if info.code_names:
        scene.lathe.preview.sketch = True
    low, high = info.pose_prior.azimuth
    if high - low < np.pi and scene.lathe.preview.source == "VIEWPORT":
        scene.lathe.preview.source = "SLIDERS"
