"""Make a starter of an adversarial training: its model folder, with a card for people, figures and a thumbnail.

`python -m backend.training.starter RUN OUT --label … --text card.md` reads `RUN/model`. `{figures}` in the text is the
table that `python -m backend judge … --out FOLDER` wrote, given as `--figures FOLDER`.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from addon.wire.errors import InvalidRequest

from ..cameras import from_wire, orbit
from ..models.card import read_card
from ..models.library import load_model
from ..models.store import read_tensors, save_model
from .images import composited

THUMBNAIL = 256


def make_starter(
    model: Path,
    out: Path,
    *,
    label: str,
    description: str,
    licence: str,
    text: str,
    metres_per_unit: float,
    seed: int,
    azimuth: float | None = None,
    scales: Mapping[str, float] | None = None,
) -> Path:
    """Write the folder of a starter.

    metres_per_unit: of the world of the training images. seed: of the thumbnail. azimuth: radians,
    of the view that the panel begins with; that of the training's card by default. scales: factors on weights, by
    patterns of their names (`fnmatch`), such as a weaker superresolution.

    Raises InvalidRequest: a pattern fits no name.
    """
    card = read_card(model)
    radius = card.pose_prior["radius"] * metres_per_unit / card.metres_per_unit
    prior = {**card.pose_prior, "radius": radius} | ({} if azimuth is None else {"default_azimuth": azimuth})
    card = replace(
        card, label=label, description=description, licence=licence, source="starter", card=text.strip() + "\n",
        metres_per_unit=metres_per_unit, pose_prior=prior,
    )  # fmt: skip
    tensors = read_tensors(model / "model.safetensors", torch.device("cpu"))
    for pattern, factor in (scales or {}).items():
        fitting = fnmatch.filter(tensors, pattern)
        if not fitting:
            raise InvalidRequest(f"No weight of {model} is called {pattern}: choose among {', '.join(tensors)}.")
        tensors |= {name: tensors[name] * factor for name in fitting}
    save_model(out, card, tensors)
    made = load_model(out)
    with torch.no_grad():
        scene = made.synthesize(made.mapping(made.sample_z(seed))[0])
        composited(scene.render(from_wire(orbit(made.info, THUMBNAIL))), None).save(
            out / "thumbnail.png", optimize=True
        )
    return out


def main(arguments: list[str]) -> None:
    """Make a starter, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a training run")
    parser.add_argument("out", type=Path, help="the starter's folder, backend/starter/NAME")
    parser.add_argument("--text", type=Path, required=True, help="Markdown of the card, with {figures} in it")
    parser.add_argument("--figures", type=Path, help="the folder that `judge --out` filled")
    parser.add_argument("--label", required=True)
    parser.add_argument("--description", required=True)
    parser.add_argument("--licence", required=True)
    parser.add_argument("--metres", type=float, default=1.0, help="metres of a unit of the training images' world")
    parser.add_argument("--seed", type=int, default=0, help="of the thumbnail")
    parser.add_argument("--azimuth", type=float, help="degrees, of the view that the panel begins with")
    parser.add_argument("--scale", nargs=2, action="append", default=[], metavar=("NAMES", "FACTOR"),
                        help="multiply the weights of these names, a pattern, such as '*.to_image.*' 0.5")  # fmt: skip
    options = parser.parse_args(arguments)
    table = "" if options.figures is None else (options.figures / "table.md").read_text(encoding="utf-8").strip()
    made = make_starter(
        options.run / "model", options.out, label=options.label, description=options.description,
        licence=options.licence, text=options.text.read_text(encoding="utf-8").replace("{figures}", table),
        metres_per_unit=options.metres, seed=options.seed,
        azimuth=None if options.azimuth is None else math.radians(options.azimuth),
        scales={names: float(factor) for names, factor in options.scale},
    )  # fmt: skip
    sys.stdout.write(f"{made}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
