"""History and favourites, sheets of variants and walks of latents, as property groups of the scene."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import bpy

from ..scene import gather
from ..scene.apply import Handle
from ..scene.gather import Subject
from ..scene.groups import fill, plain
from ..scene.settings import clear_codes
from ..wire.errors import InvalidRequest
from ..wire.messages import MAX_SEED, Latent, ModelInfo

MAX_HISTORY = 100
"""Number of latents that are not favourites; older ones are dropped."""

# -------------------------------------------------------------------------------------------------------------- history


def rememberer(context: Any, chosen: Subject) -> Callable[[str], None] | None:
    """Return a function that adds the subject's latent, as it is now, to the history with a given thumbnail.

    None for a radiance field, which has no latent, and while an animation plays.
    """
    screen = getattr(context, "screen", None)
    if gather.is_field(chosen.info) or (screen is not None and screen.is_animation_playing):
        return None
    scene, model, latent = Handle.of("scenes", context.scene), chosen.settings.model, plain(chosen.settings.latent)

    def remember(thumbnail: str) -> None:
        found = scene.find()
        if found is not None:
            put_first(found.lathe.history, model, latent, thumbnail)

    return remember


def put_first(history: Any, model: str, latent: dict[str, Any], thumbnail: str = "") -> None:
    """Put a latent at the top of the history. An equal one moves up."""
    for index, item in enumerate(history):
        if item.model == model and item.latent.seed_a == latent["seed_a"] and plain(item.latent) == latent:
            item.thumbnail = thumbnail or item.thumbnail
            history.move(index, 0)
            return
    _note(history.add(), model, latent, thumbnail)
    history.move(len(history) - 1, 0)
    forgettable = [index for index, item in enumerate(history) if not item.starred]
    for index in reversed(forgettable[MAX_HISTORY:]):
        history.remove(index)


def _note(item: Any, model: str, latent: dict[str, Any], thumbnail: str) -> None:
    item.model, item.thumbnail = model, thumbnail
    fill(item.latent, latent)


def title(item: Any, info: ModelInfo | None) -> str:
    """Return the label of a LatheRemembered."""
    latent = item.latent
    text = "Code" if latent.code else str(latent.seed_a)
    separate = info is not None and gather.is_separate(info)
    mixes = (latent.mix_geometry, latent.mix_appearance) if separate else (latent.mix_geometry,)
    if any(mixes):
        second = "Code" if latent.code_b else latent.seed_b
        text += f" → {second} ({', '.join(f'{mix:.0%}' for mix in mixes)})"
    if any(latent.style_layers):
        text += f" + layers of {latent.seed_b}"
    return text


def favourite_seeds(scene: Any, model: str) -> list[int]:
    """Return the seeds of a model's favourites, the oldest first."""
    starred = [item for item in scene.lathe.history if item.starred and item.model == model and not item.latent.code]
    return list(dict.fromkeys(item.latent.seed_a for item in reversed(starred)))


# ------------------------------------------------------------------------------------------------------------- variants


@dataclass(frozen=True)
class Sheet:
    """Latents to choose from, as wire messages and as properties."""

    model: str
    latents: tuple[Latent, ...]
    settings: tuple[dict[str, Any], ...]


def seed_b_matters(latent: Any, info: ModelInfo) -> bool:
    """Return whether the shape depends on seed B."""
    return bool(
        latent.mix_geometry
        or (gather.is_separate(info) and latent.mix_appearance)
        or gather.style_rows(latent.style_layers, info)
    )


def sheet(scene: Any, chosen: Subject, count: int, more: bool) -> Sheet:
    """Return `count` latents with consecutive seeds, from the subject's own on or (more) after the sheet's last."""
    info = chosen.model
    latent, settings = gather.latent(chosen.settings, info), plain(chosen.settings.latent)
    name = "seed_b" if scene.lathe.vary == "B" and seed_b_matters(chosen.settings.latent, info) else "seed_a"
    last = scene.lathe.variants[-1] if more and scene.lathe.variants else None
    first = getattr(last.latent, name) + 1 if last is not None else settings[name]
    seeds = [(first + index) % (MAX_SEED + 1) for index in range(count)]
    if name == "seed_a":
        latent, settings = replace(latent, code=""), {**settings, "code": "", "code_data": ""}
    else:
        latent, settings = replace(latent, code_b=""), {**settings, "code_b": "", "code_b_data": ""}
    return Sheet(
        info.name,
        tuple(replace(latent, seed_a=seed) if name == "seed_a" else replace(latent, seed_b=seed) for seed in seeds),
        tuple({**settings, name: seed} for seed in seeds),
    )


def put_sheet(scene: Any, made: Sheet, thumbnails: Iterable[str]) -> None:
    """Store a sheet with its thumbnails as the scene's variants."""
    scene.lathe.variants.clear()
    for settings, thumbnail in zip(made.settings, thumbnails):
        _note(scene.lathe.variants.add(), made.model, settings, thumbnail)


# ----------------------------------------------------------------------------------------------------------------- walk

SEED_PATHS = ("lathe.latent.seed_a", "lathe.latent.seed_b")
MIX_PATHS = ("lathe.latent.mix_geometry", "lathe.latent.mix_appearance")
LAYERS_PATH = "lathe.latent.style_layers"


def seeds_of(text: str) -> list[int]:
    """Return the seeds listed in a text. Raises InvalidRequest."""
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    wrong = next((word for word in words if not word.isdecimal() or int(word) > MAX_SEED), None)
    if wrong is not None:
        raise InvalidRequest(f"{wrong!r} is not a seed: list whole numbers from 0 to {MAX_SEED}, separated by commas")
    if len(words) < 2:
        raise InvalidRequest("A walk needs at least two seeds, separated by a comma")
    return [int(word) for word in words]


def keyframe_walk(scene: Any, settings: Any) -> tuple[int, int]:
    """Keyframe the latent of a LatheScene or LatheObject along the walk, and return the first and the last frame.

    The walk starts at the current frame. The mix alternates between A and B, and a seed changes only while its weight
    is zero. Raises InvalidRequest.
    """
    walk, latent, owner = scene.lathe.walk, settings.latent, settings.id_data
    seeds = seeds_of(walk.seeds)
    if walk.closed:
        seeds.append(seeds[0])
    clear_walk(settings)
    clear_codes(latent)
    latent.style_layers = [False] * gather.MAX_LAYERS
    first = scene.frame_current
    at = [first + index * walk.frames for index in range(len(seeds))]
    for index, seed in enumerate(seeds):
        name = "seed_b" if index % 2 else "seed_a"
        setattr(latent, name, seed)
        owner.keyframe_insert(f"lathe.latent.{name}", frame=at[max(index - 1, 0)])
        for path in MIX_PATHS:
            setattr(latent, path.rpartition(".")[2], float(index % 2))
            owner.keyframe_insert(path, frame=at[index])
    for curve in curves_of(owner):
        if curve.data_path in SEED_PATHS + MIX_PATHS:
            smooth = "BEZIER" if walk.smooth else "LINEAR"
            for point in curve.keyframe_points:
                point.interpolation = "CONSTANT" if curve.data_path in SEED_PATHS else smooth
                point.handle_left_type = point.handle_right_type = "AUTO_CLAMPED"
            curve.update()
    scene.frame_end = max(scene.frame_end, at[-1])
    scene.frame_set(first)
    return first, at[-1]


def clear_walk(settings: Any) -> bool:
    """Remove the keyframes of seeds, mixes and layers. Returns whether there were any."""
    curves = curves_of(settings.id_data)
    found = [curve for curve in curves if curve.data_path in (*SEED_PATHS, *MIX_PATHS, LAYERS_PATH)]
    for curve in found:
        curves.remove(curve)
    return bool(found)


def is_walking(settings: Any) -> bool:
    """Return whether the seeds of a latent are keyframed."""
    return any(curve.data_path in SEED_PATHS for curve in curves_of(settings.id_data))


def curves_of(owner: Any) -> Any:
    """Return the F-curves of a datablock's own action; an empty list where there are none."""
    animated = owner.animation_data
    action = animated.action if animated is not None else None
    if action is None:
        return []
    if bpy.app.version < (4, 4, 0):
        return action.fcurves
    for layer in action.layers:  # an action holds the curves of several datablocks, each in the channel bag of its slot
        for strip in layer.strips:
            bag = strip.channelbag(animated.action_slot)
            if bag is not None:
                return bag.fcurves
    return []
