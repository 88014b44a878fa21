"""Commands on several views of a model: views, consistency."""

from __future__ import annotations

import math
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addon.wire.errors import CannotWrite, InvalidRequest
from addon.wire.messages import FitOptions, Latent, SceneRef, ViewsRequest

from ..progress import part
from .arguments import Device, model_name, seed_option, workspace
from .console import Json, answer, expected_errors, progress_bar
from .options import options_from

if TYPE_CHECKING:
    from ..nerf.consistency import ViewPair
    from ..progress import Progress
    from ..scenes.protocol import Scene
    from ..tasks.workspace import Workspace

Model = Annotated[str, typer.Argument(help="Name of a model, or its folder.", metavar="MODEL")]


class Depth(StrEnum):
    """Source of the depth for reprojection."""

    auto = "auto"
    own = "own"
    fitted = "fitted"


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command()(views)
    cli.command()(consistency)


@seed_option
@options_from(ViewsRequest, "rendering", names={"seed": "viewpoints"})
def views(
    model: Model,
    out: Annotated[Path, typer.Option(help="An empty folder for images/ and transforms.json.")],
    latent: dict[str, Any],
    rendering: dict[str, Any],
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Render a latent from the viewpoints of its model's training data, as a data set for `fit`."""
    from ..tasks.views import render_views

    if out.is_dir() and any(out.iterdir()):
        raise InvalidRequest(f"{out} is not empty: give a new folder.")
    shared = workspace(device)
    started = time.perf_counter()
    request = ViewsRequest(SceneRef(model_name(shared, model), Latent(**latent)), **rendering)
    with progress_bar() as report, expected_errors():
        try:
            out.mkdir(parents=True, exist_ok=True)
            made = render_views(request, out, report, shared)
        except OSError as error:
            raise CannotWrite(f"The views cannot be written to {out}: {error.strerror or error}.") from error
    options = "" if made.background == "auto" else f" --background {made.background}"
    answer(
        as_json,
        {
            "folder": str(out), "views": len(made.views), "background": made.background,
            "next": f"python -m backend fit {out} --unbounded no{options} --out SCENE.safetensors",
            "seconds": round(time.perf_counter() - started, 3),
        },
    )  # fmt: skip


def consistency(
    model: Model,
    seed: Annotated[list[int] | None, typer.Option(help="Seed of a latent; repeatable.")] = None,
    pairs: Annotated[int, typer.Option(help="Pairs of neighbouring views per latent.")] = 8,
    step: Annotated[float, typer.Option(help="Azimuth between neighbours, degrees.")] = 10.0,
    size: Annotated[int, typer.Option(help="Pixels of the images' side; 0 is the model's own.")] = 0,
    depth: Annotated[Depth, typer.Option(help="Source of the depth; auto: the model's own if it has a surface.")] = (
        Depth.auto
    ),
    fit_views: Annotated[int, typer.Option(help="Views that a radiance field is fitted to.")] = 60,
    fit_steps: Annotated[int, typer.Option(help="Training steps of the field, per latent.")] = 1000,
    picture: Annotated[Path | None, typer.Option(help="A .png file for pairs, reprojections and differences.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Measure the consistency of a model's views: the error of each view reprojected into its neighbour.

    For a model without a surface, the depth is that of a radiance field fitted to the model's views.
    """
    import torch

    from ..nerf.consistency import measure, neighbours, pooled

    if not 0.1 <= step <= 90:
        raise InvalidRequest(f"--step must be between 0.1 and 90 degrees, got {step:g}")
    if not 1 <= pairs <= 1000:
        raise InvalidRequest(f"--pairs must be between 1 and 1000, got {pairs}")
    if picture is not None and picture.suffix.lower() != ".png":
        raise InvalidRequest(f"--picture must end in .png, got {picture.name!r}.")
    shared = workspace(device)
    started = time.perf_counter()
    name = model_name(shared, model)
    info = shared.generator(name).info
    own = info.has_surface if depth == Depth.auto else depth == Depth.own
    if own and not info.has_surface:
        raise InvalidRequest(f"{info.label} has no depth of its own: use --depth fitted.")
    size = size or info.image_size
    found: list[ViewPair] = []
    held_back: list[float] = []
    seeds = seed or [0]
    with progress_bar() as report, expected_errors(), torch.no_grad():
        for number, one in enumerate(seeds):
            mine = part(report, number / len(seeds), (number + 1) / len(seeds))
            ref = SceneRef(name, Latent(one))
            scene = shared.scene(ref, placed=False)
            geometry = scene
            if not own:
                request = ViewsRequest(ref, fit_views, size)
                geometry, psnr = _fitted(request, fit_steps, part(mine, 0.0, 0.9), shared)
                held_back.append(psnr)
            cameras = neighbours(info, pairs, size, math.radians(step))
            found += measure(cameras, scene.render, geometry.render, shared.device, part(mine, 0.9, 1.0))
    total = pooled([pair.agreement for pair in found])
    if picture is not None:
        _write(picture, found)
    fields: dict[str, Any] = {
        "model": name, "seeds": seeds, "pairs": len(found), "step_degrees": step, "size": size,
        "depth": "own" if own else "fitted", "psnr": round(total.psnr, 2), "mean_absolute": round(total.absolute, 4),
        "psnr_without_reprojection": round(total.psnr_unmoved, 2), "pixels": total.pixels,
        "fitted_psnr": [round(value, 2) for value in held_back],
        "seconds": round(time.perf_counter() - started, 1),
    }  # fmt: skip
    answer(as_json, fields)


def _fitted(request: ViewsRequest, steps: int, progress: Progress, shared: Workspace) -> tuple[Scene, float]:
    """Return a radiance field fitted to a latent's views, and its PSNR on held-out ones."""
    import torch

    from ..nerf.datasets import open_dataset
    from ..tasks.fit import fit_scene
    from ..tasks.fit_run import SaveTarget
    from ..tasks.views import render_views

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        folder = Path(made)
        background = render_views(request, folder / "views", part(progress, 0.0, 0.2), shared).background
        options = FitOptions(preset="draft", steps=steps, background=background, unbounded="no")
        kept: list[Any] = []
        place = SaveTarget("views", folder / "state", lambda card, tensors: kept.append((card, tensors)))
        with torch.enable_grad():
            result = fit_scene(open_dataset(folder / "views"), options, place, part(progress, 0.2, 1.0), shared)
        from ..models.library import generator_of

        card, tensors = kept[-1]
        generator = generator_of("views", card, tensors, folder)
        return generator.synthesize(generator.mapping(generator.sample_z(0))[0]), result.psnr or math.nan


def _write(path: Path, found: list[ViewPair]) -> None:
    """Write an image of the pairs, as `pairs_page` draws it."""
    from ..nerf.consistency import pairs_page
    from ..training.images import to_pil

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil(pairs_page(found[:8])).save(path, format="PNG")
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written: {error.strerror or error}.") from error
