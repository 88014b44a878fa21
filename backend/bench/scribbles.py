"""Scribbles on a chair of the EditNeRF starter, 64 pixels a side: what is seen from views that were neither painted nor
learnt, what changes elsewhere, and seconds; a row each for the figures, and for each choice of parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..cameras import Camera, flattened, from_wire, orbit
from ..editing.mixing import sampled
from ..editing.optimise import Options, edit
from ..editing.parameters import CHOICES, Parameters
from ..editing.region import Kind
from ..editing.scene import EditedGenerator
from ..editing.scribbles import Change, Scribble
from ..models.library import load_model
from ..models.store import model_folder
from ..scenes.generator import Generator
from .row import Row

MODEL = "editnerf_chairs"
INSTANCE = 4
"""Of the training objects, from 1."""

SIDE = 64
PAINTED = math.radians(30), math.radians(20)
HELD_BACK = tuple((math.radians(a), math.radians(e)) for a, e in ((30, 20), (8, 12), (55, 30), (-30, 25), (145, 15)))
"""Azimuth and elevation; the first is the painted one."""

BOX: dict[Kind, tuple[int, int, int, int]] = {"color": (26, 42, 14, 50), "remove": (42, 64, 14, 50)}
"""Rows and columns that are painted over: the seat, the legs."""

BLUE = torch.tensor([0.1, 0.3, 0.9])
COLOR_ERROR, ALPHA, CHANGE, PSNR, FIRST, SECONDS = 0.05, 0.05, 1.0, 40.0, 5.0, 60.0
STEPS = 200


@dataclass(frozen=True)
class Figures:
    """Of one edit, over the held-back views. inside: largest mean |error|, sRGB, of the pixels it is to change; alpha:
    largest mean of removed pixels; outside: largest mean |change| of the others, of 255; psnr: their lowest, dB;
    spread: `outside` of the same parameters without the region; first, seconds: until the first step, and in all."""

    inside: float
    alpha: float
    outside: float
    psnr: float
    spread: float
    first: float
    seconds: float


def rows() -> list[Row]:
    """Return the figures of a colour edit and a removal, and what each choice of parameters gives."""
    generator = load_model(model_folder(MODEL))
    found: list[Row] = []
    for kind in ("color", "remove"):
        of = {choice: measured(generator, kind, choice) for choice in CHOICES}
        best, name = of["hybrid"], f"scribbles, {kind}"
        if kind == "color":
            found.append(Row(f"{name}: error inside", best.inside, "sRGB", COLOR_ERROR, best.inside < COLOR_ERROR))
        else:
            found.append(Row(f"{name}: alpha of the removed part", best.alpha, "", ALPHA, best.alpha < ALPHA))
        found += [
            Row(f"{name}: mean change outside", best.outside, "/255", CHANGE, best.outside <= CHANGE),
            Row(f"{name}: outside", best.psnr, "dB", PSNR, best.psnr >= PSNR),
            Row(f"{name}: first result", best.first, "s", FIRST, best.first <= FIRST),
            Row(f"{name}: done", best.seconds, "s", SECONDS, best.seconds <= SECONDS),
        ]
        for choice, figures in of.items():
            found += [
                Row(f"{name}, {choice}: error inside", figures.inside, "sRGB"),
                Row(f"{name}, {choice}: mean change outside without the region", figures.spread, "/255"),
                Row(f"{name}, {choice}: done", figures.seconds, "s"),
            ]
    return found


def painted(generator: Generator, kind: Kind) -> tuple[Tensor, Scribble]:
    """Return ws of the edited chair, and the strokes on it."""
    ws = generator.network.codes[INSTANCE - 1]  # type: ignore[attr-defined]
    view = camera(generator, PAINTED)
    top, bottom, left, right = BOX[kind]
    strokes = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    strokes[top:bottom, left:right] = True
    return ws, Scribble(view, strokes, BLUE.expand(SIDE, SIDE, 3), torch.zeros_like(strokes))


def camera(generator: Generator, view: tuple[float, float]) -> Camera:
    """Return the camera at azimuth and elevation."""
    return from_wire(orbit(generator.info, SIDE, azimuth=view[0], elevation=view[1]))


def measured(generator: Generator, kind: Kind, choice: Parameters) -> Figures:
    """Return the figures of one edit."""
    ws, scribble = painted(generator, kind)
    result = edit(generator, ws, [scribble], kind, Options(choice, STEPS, SECONDS))
    before = generator.synthesize(ws)
    after = EditedGenerator(generator, [result.layer]).synthesize(ws)
    alone = EditedGenerator(generator, [result.layer.everywhere()]).synthesize(ws)
    change = Change(before, [scribble], kind)
    inside, alpha, outside, squares, spread = [], [], [], [], []
    for view in HELD_BACK:
        seen_by = camera(generator, view)
        difference, touched, _ = change.difference(sampled(before, flattened(seen_by.rays())))
        was, now, without = (scene.render(seen_by) for scene in (before, after, alone))
        touched = touched.reshape(SIDE, SIDE)
        was_rgb, now_rgb, without_rgb = (image.rgb * image.alpha[..., None] for image in (was, now, without))
        wanted = was_rgb + difference.rgb.reshape(SIDE, SIDE, 3)
        gone = touched & (was.alpha > 0.5) & (was.alpha + difference.alpha.reshape(SIDE, SIDE) < 0.03)
        inside.append(float((now_rgb - wanted)[touched].abs().mean()))
        alpha.append(float(now.alpha[gone].mean()) if gone.any() else 0.0)
        outside.append(255 * float((now_rgb - was_rgb)[~touched].abs().mean()))
        squares.append(float((now_rgb - was_rgb)[~touched].square().mean()))
        spread.append(255 * float((without_rgb - was_rgb)[~touched].abs().mean()))
    psnr = -10 * math.log10(max(*squares, 1e-12))
    return Figures(max(inside), max(alpha), max(outside), psnr, max(spread), result.first_seconds, result.seconds)
