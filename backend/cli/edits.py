"""Commands that edit: edit, edit-layer."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from addon.wire.errors import InvalidRequest
from addon.wire.messages import Latent

from .arguments import ControlOption, Device, Model, angle, latent_options, scene_ref, workspace
from .console import Json, answer, expected_errors, progress_bar


class EditKind(StrEnum):
    """What the strokes mean."""

    color = "color"
    remove = "remove"
    add = "add"


class EditParameters(StrEnum):
    """What is optimised."""

    codes = "codes"
    late = "late"
    all = "all"
    hybrid = "hybrid"


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command()(edit)
    cli.command("edit-layer")(edit_layer)


@latent_options
def edit(
    model: Model,
    strokes: Annotated[
        list[Path], typer.Option(help="Strokes painted on a transparent image of a view; repeatable.", metavar="PNG")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the edited model.")],
    latent: dict[str, Any],
    view: Annotated[
        list[str] | None,
        typer.Option(metavar="AZIMUTH,ELEVATION", help="Camera of the strokes, degrees; one for each --strokes."),
    ] = None,
    keep: Annotated[
        list[Path] | None, typer.Option(metavar="PNG", help="Strokes over what must stay; one for each --strokes.")
    ] = None,
    kind: Annotated[EditKind, typer.Option(help="Colour what is painted over, remove it, or add to it.")] = (
        EditKind.color
    ),
    parameters: Annotated[EditParameters, typer.Option(help="What is optimised.")] = EditParameters.hybrid,
    steps: Annotated[int, typer.Option(help="Optimisation steps.")] = 300,
    seconds: Annotated[float, typer.Option(help="Ends the optimisation earlier, after this time.")] = 60.0,
    paste_seed: Annotated[int | None, typer.Option(help="Seed of the object that an added part is taken from.")] = None,
    label: Annotated[str, typer.Option(help="Name of the edit.")] = "",
    control: ControlOption = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Edit what a model shows by strokes on its views, as a layer on top of the model and its earlier edits."""
    from ..editing.optimise import Options
    from ..editing.run import PaintedView, add_edit
    from ..scenes.latents import ws_from_latent

    if not 1 <= steps <= 100_000 or not 0 < seconds <= 86_400:
        raise InvalidRequest("--steps must be 1 to 100000, and --seconds more than 0 and at most 86400.")
    views = [_angles(text) for text in view] if view else [(None, None)] * len(strokes)
    keeps: list[Path | None] = [*keep] if keep else [None] * len(strokes)
    if len(views) != len(strokes) or len(keeps) != len(strokes):
        raise InvalidRequest("Give --view and --keep once for each --strokes, in the same order, or not at all.")
    painted = [PaintedView(s, v, k) for s, v, k in zip(strokes, views, keeps, strict=True)]
    shared = workspace(device)
    scene = scene_ref(shared, model, latent, control)
    with progress_bar() as report, expected_errors():
        generator = shared.generator(scene.model, report)
        ws = ws_from_latent(generator, scene.latent, shared.stored_code)
        paste = None if paste_seed is None else ws_from_latent(generator, Latent(seed_a=paste_seed))
        found = add_edit(
            shared.folder(scene.model), generator, ws, painted, kind.value, out,
            Options(parameters.value, steps, seconds), controls=scene.controls, paste=paste, label=label,
            progress=report,
        )  # fmt: skip
    answer(
        as_json,
        {
            "folder": str(out), "steps": len(found.losses), "loss": found.losses[-1],
            "first_seconds": round(found.first_seconds, 3), "seconds": round(found.seconds, 3),
        },
    )  # fmt: skip


def edit_layer(
    model: Annotated[Path, typer.Argument(help="Folder of an edited model.", metavar="FOLDER")],
    layer: Annotated[int, typer.Argument(help="Number of the layer, from 1.", metavar="NUMBER")],
    strength: Annotated[float | None, typer.Option(help="Factor of what the layer adds; 1 is as it was made.")] = None,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Show the layer or not.")] = None,
    move_to: Annotated[int | None, typer.Option(help="New place of the layer, from 1.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Delete the layer.")] = False,
    as_json: Json = False,
) -> None:
    """Switch, weight, move or delete a layer of an edited model; its model need not be there."""
    from ..editing.layers import switched
    from ..editing.scene import read_stack, write_stack

    with expected_errors():
        card, layers = read_stack(model)
        for place in (layer, move_to):
            if place is not None and not 1 <= place <= len(layers):
                raise InvalidRequest(f"There is no layer {place}: {model.name} has {len(layers)}.")
        if strength is not None and not -4 <= strength <= 4:
            raise InvalidRequest(f"--strength must be between −4 and 4, got {strength:g}")
        layers = switched(layers, layer - 1, on=on, strength=strength)
        if remove or move_to is not None:
            moved = layers.pop(layer - 1)
            if not remove and move_to is not None:
                layers.insert(move_to - 1, moved)
        write_stack(model, card.constructor["base"], card.constructor["base_sha256"], card, layers)
    answer(as_json, {"folder": str(model), "layers": [layer.described() for layer in layers]})


def _angles(text: str) -> tuple[float | None, float | None]:
    """Return azimuth and elevation, radians. Raises InvalidRequest."""
    parts = text.split(",")
    try:
        azimuth, elevation = (float(part) for part in parts)
    except ValueError:
        raise InvalidRequest(f"--view takes AZIMUTH,ELEVATION in degrees, such as 30,20; got {text!r}") from None
    return angle("--view", azimuth), angle("--view", elevation)
