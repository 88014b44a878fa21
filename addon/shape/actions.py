"""Seeds, variants, history and the mesh of a shape."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from ..link.jobs import Job, Steps
from ..link.session import session
from ..models.actions import problem_model
from ..preferences import configure
from ..scene import apply, gather, thumbnails
from ..scene.apply import Handle
from ..scene.gather import Subject, generated_object, subject
from ..scene.groups import fill, plain
from ..scene.settings import clear_codes, copy_settings, restore, set_model, snapshot
from ..wire import errors
from ..wire.messages import (
    GenerateRequest,
)
from . import latents
from .codes import ask_with_codes, stored_codes


def problem_mesh(context: Any) -> str:
    """Return why no mesh can be generated, or an empty string."""
    problem = problem_model(context)
    if problem:
        return problem
    if session.jobs.find("fit") and subject(context).settings.model == session.fitting:
        return "This field is being fitted: pause the fit first, or wait for it"
    chosen = subject(context)
    assert chosen.info is not None
    if not chosen.info.has_surface:
        return chosen.info.no_surface_reason or f"{chosen.info.label} has no surface to mesh"
    return ""


def randomize_seeds(context: Any) -> None:
    """Draw both seeds of the subject at random."""
    latent = subject(context).settings.latent
    latent.seed_a, latent.seed_b = random.randrange(100_000), random.randrange(100_000)
    clear_codes(latent)


def take_latent(context: Any) -> None:
    """Copy model, latent and mesh settings of the active generated object to the scene."""
    item = generated_object(context)
    copy_settings(item.lathe, context.scene.lathe)


def variants(context: Any, count: int = 0, size: int = 128, *, more: bool = False) -> Job:
    """Render a sheet of consecutive seeds, for the tab and as the image 'Lathe Variants'. Result: the image's name.

    count: number of images; 0 is the tab's setting. size: pixels along each side of an image. more: continue after the
    last seed of the current sheet.
    """
    configure(context)
    chosen, scene = subject(context), context.scene
    info = chosen.model
    sheet = latents.sheet(scene, chosen, count or scene.lathe.variant_count, more)
    camera = None
    if scene.lathe.preview.source == "SLIDERS":
        camera = gather.orbit(info, chosen.settings.view, size, size)
    controls = gather.controls(chosen.settings, info)
    request = GenerateRequest(info.name, sheet.latents, size, camera, controls, "draft")
    scene_handle = Handle.of("scenes", scene)
    needed = request.latents[0].codes()
    codes = {sha256: data for sha256, data in stored_codes(chosen).items() if sha256 in needed}

    def work(job: Job) -> tuple[apply.PreparedImage, list[str]]:
        result = ask_with_codes(job, request, codes)
        return apply.prepare_sheet(result), [thumbnails.pack(image) for image in result.images]

    def then(made: tuple[apply.PreparedImage, list[str]]) -> str:
        latents.put_sheet(scene_handle.get(), sheet, made[1])
        return apply.put_image(apply.VARIANTS_IMAGE, made[0])

    return session.jobs.start(f"{len(sheet.latents)} variants of {info.label}", work, then, kind="variants")


def generate_mesh(context: Any, *, draft: bool = False, quiet: bool = False) -> Job:
    """Generate the subject's mesh as a new object, or replace the mesh of an existing one. Result: the object's name.

    The mesh of a field is an object of its own, whose mesh is replaced the next time and which is always placed where
    the field is.

    draft: geometry alone, and no undo step. quiet: not listed in the Jobs panel.
    """
    configure(context)
    chosen = subject(context)
    request = gather.mesh_request(chosen)
    if draft:
        request = dataclasses.replace(request, target_faces=0, fill_holes=False, color="none")
    info = chosen.model
    codes = stored_codes(chosen)
    scene = context.scene
    target, name = chosen.object, f"{info.label} {request.scene.latent.seed_a}"
    if target is not None and target.lathe.is_field:
        target, name = mesh_of_field(target), f"{chosen.object.name} Mesh"
    if target is not None and target.type != "MESH":
        target = None  # an empty that holds a latent
    if target is None and chosen.object is None and chosen.settings.mesh.placement == "LAST":
        last = scene.lathe.last_object
        target = last if last is not None and last.name in scene.objects and last.type == "MESH" else None
    stand = chosen.object is None and not gather.is_field(info)  # a field is where its images were taken
    finish = finisher(chosen, scene, target, name, undo=not draft, stand=stand)

    def work(job: Job) -> apply.PreparedMesh:
        result = ask_with_codes(job, request, codes, end=0.95)
        job.report(0.95, "Preparing")
        return apply.prepare_mesh(result)

    return session.jobs.start(f"Mesh of {info.label}", work, finish, kind="mesh", quiet=quiet)


def mesh_of_field(field: Any) -> Any:
    """Return the mesh object of a field, or None. The two refer to each other, which duplicates do not."""
    made = field.lathe.partner
    linked = made is not None and made.type == "MESH" and made.users_collection  # a deleted one still has its pointer
    return made if linked and made.lathe.partner == field else None


def finisher(
    chosen: Subject,
    scene: Any,
    target: Any,
    name: str,
    found: dict[str, Any] | None = None,
    *,
    undo: bool = True,
    stand: bool = False,
) -> Any:
    """Return the `then` of a job that puts a mesh into the scene and stores its settings, as they are now, on it.

    target: the object whose mesh is replaced; None makes a new object. found: properties of the latent to set in
    addition (of a code that the job finds). undo: make it an undo step. stand: a new object stands on the ground in
    free space; otherwise it is placed exactly where the subject is.
    """
    noted = snapshot(chosen.settings)
    scene_handle = Handle.of("scenes", scene)
    target_handle = Handle.of("objects", target) if target is not None else None
    world = chosen.world_from_scene
    extra = found if found is not None else {}
    of_field = chosen.object is not None and chosen.object.lathe.is_field
    field_handle = Handle.of("objects", chosen.object) if of_field else None
    latents_count = not gather.is_field(chosen.info)

    def write(item: Any) -> None:
        item.lathe.is_generated = True
        restore(noted, item.lathe)
        fill(item.lathe.latent, extra)
        place = scene_handle.find()
        if latents_count and undo and place is not None:
            latents.put_first(place.lathe.history, noted["model"], plain(item.lathe.latent))
        field = field_handle.find() if field_handle else None
        if field is not None:
            item.lathe.partner, field.lathe.partner = field, item
            item.matrix_world = Matrix(world.tolist())

    def then(prepared: apply.PreparedMesh) -> Steps:
        return apply.put_shape(
            prepared, name, scene_handle, world, target_handle, write, undo=undo, select=not of_field, stand=stand
        )

    return then


def use_remembered(context: Any, where: str, index: int) -> None:
    """Give the subject a latent of the "history" or the "variants", and its model. Raises InvalidRequest."""
    items = getattr(context.scene.lathe, where)
    if not 0 <= index < len(items):
        raise errors.InvalidRequest("This latent is no longer in the list")
    entry = items[index]
    info = gather.known_model(entry.model)
    settings = context.scene.lathe if gather.field_object(context) else subject(context).settings
    if settings.model != entry.model:
        set_model(settings, info)
    fill(settings.latent, plain(entry.latent))


def star(context: Any, where: str, index: int) -> None:
    """Toggle whether a latent of the "history" or the "variants" is a favourite. Favourites are in the history.

    Raises InvalidRequest.
    """
    history, items = context.scene.lathe.history, getattr(context.scene.lathe, where)
    if not 0 <= index < len(items):
        raise errors.InvalidRequest("This latent is no longer in the list")
    if where == "variants":
        latents.put_first(history, items[index].model, plain(items[index].latent), items[index].thumbnail)
        items, index = history, 0
        history[0].starred = False
    items[index].starred = not items[index].starred


def add_latent(context: Any) -> Any:
    """Add an empty with the latent, its model and its view, and return it.

    It can be keyframed, driven and copied as an object, also for a model without a surface.
    """
    chosen = subject(context)
    info = chosen.model
    item = bpy.data.objects.new(f"{info.label} {chosen.settings.latent.seed_a}", None)
    item.empty_display_type = "CUBE"
    item.empty_display_size = float(np.abs(np.array(info.bounds)).max())
    item.matrix_world = Matrix(chosen.world_from_scene.tolist())
    context.collection.objects.link(item)
    item.lathe.is_generated = True
    restore(snapshot(chosen.settings), item.lathe)
    apply.select_alone(item)
    context.scene.lathe.target = "OBJECT"
    return item


def problem_latent(context: Any) -> str:
    """Return why the subject has no latent, or an empty string."""
    problem = problem_model(context)
    return problem or ("A radiance field has no latents" if gather.is_field(subject(context).info) else "")


def keyframe_walk(context: Any) -> tuple[int, int]:
    """Keyframe the subject's latent along the walk; return the first and the last frame. Raises InvalidRequest."""
    problem = problem_latent(context)
    if problem:
        raise errors.InvalidRequest(problem)
    return latents.keyframe_walk(context.scene, subject(context).settings)
