"""Models and settings written into the property groups of scenes and objects."""

from __future__ import annotations

from typing import Any

import bpy

from ..link.session import session
from ..wire.messages import ModelInfo
from . import gather
from .groups import fill, plain

FIRST_MODEL = "eg3d_animals"
"""The starter that a new scene begins with."""


def models_known(result: Any = None) -> Any:
    """Choose a model for scenes without one: FIRST_MODEL, or another starter. Passes `result` on, so that it can be the
    `then` of a job."""
    if session.models:
        first = max(session.models.values(), key=lambda info: (info.name == FIRST_MODEL, info.source == "starter"))
        for scene in bpy.data.scenes:
            if not scene.lathe.model:
                set_model(scene.lathe, first)
    return result


def set_model(settings: Any, info: ModelInfo) -> None:
    """Set the model of a LatheScene or LatheObject, with its controls, view and level. Controls it shares are kept."""
    previous = session.models.get(settings.model)
    settings.model = info.name
    latent = settings.latent
    clear_codes(latent)
    before = {item.name: (item.unit, getattr(item, gather.property_of(item.unit))) for item in latent.controls}
    latent.controls.clear()
    for control in info.controls:
        item = latent.controls.add()
        item.name, item.label, item.unit = control.name, control.label, control.unit
        item.minimum, item.maximum = control.minimum, control.maximum
        set_control(item, control.default)
        unit, value = before.get(control.name, ("", None))
        if value is not None and unit == control.unit:
            setattr(item, gather.property_of(unit), value)
    latent.style_layers = [False] * gather.MAX_LAYERS
    if info.code_names:  # each seed is one code alone
        latent.mix_geometry, latent.mix_appearance = 0.0, 1.0
    elif previous is not None and previous.code_names:
        latent.mix_geometry = latent.mix_appearance = 0.0
    settings.view.fov = info.pose_prior.fov
    settings.mesh.use_level = False
    settings.mesh.level = info.iso_level


def clear_codes(latent: Any) -> None:
    """Remove the stored codes of a LatheLatent: of A and B, of rows and of directions. The seeds count again."""
    latent.code = latent.code_data = latent.code_b = latent.code_b_data = ""
    latent.rows.clear()
    latent.directions.clear()


def set_control(item: Any, value: float) -> None:
    """Set a LatheControl to a value of the wire."""
    item.value = value
    name = gather.property_of(item.unit)
    if name != "value":
        setattr(item, name, type(getattr(item, name))(round(value) if name == "number" else value))


def copy_settings(source: Any, target: Any) -> None:
    """Copy model, latent, view and mesh settings between a LatheScene and a LatheObject."""
    target.model = source.model
    for name, values in _groups(source).items():
        fill(getattr(target, name), values)


def _groups(settings: Any) -> dict[str, dict[str, Any]]:
    """Return latent, view and mesh settings as plain data."""
    groups = {name: plain(getattr(settings, name)) for name in ("latent", "view", "mesh")}
    if not settings.view.is_property_set("fov"):
        del groups["view"]["fov"]  # of a file older than the sliders: the model's own stays
    return groups


def snapshot(settings: Any) -> dict[str, Any]:
    """Return model, latent, view and mesh settings as plain data."""
    crop = {}
    if hasattr(settings, "use_crop"):
        crop = {"use_crop": settings.use_crop, "crop_min": settings.crop_min[:], "crop_max": settings.crop_max[:]}
    return {"model": settings.model, "crop": crop, **_groups(settings)}


def restore(noted: dict[str, Any], settings: Any) -> None:
    settings.model = noted["model"]
    for key, value in noted["crop"].items():
        setattr(settings, key, value)
    for name in ("latent", "view", "mesh"):
        fill(getattr(settings, name), noted[name])
