"""What is said of a trained HoloGAN, measured: how near its pictures are to real ones, whether it turns as it is asked
to, and whether a turned object stays the one it was.

No network that was trained on photographs is at hand, so the pictures are compared by `PictureFeatures`, a small one
that learns from the chairs of `chair_views` which pictures show the same chair, from where, and in what colours.

    features   python -m backend.training.hologan_figures features VIEWS OUT      trains it, some minutes
    figures    python -m backend.training.hologan_figures figures VIEWS OUT RUN   measures the run in RUN
    export     python -m backend.training.hologan_figures export VIEWS OUT RUN    OUT/model with its card, OUT/sweep.png
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file

from ...cameras import from_wire, orbit
from ...generators.hologan.model import Generator
from ...models.card import ModelCard
from ...models.library import load_model
from ...models.store import save_model
from ..data import chair_views
from ..images import picture
from .config import HoloGANTraining, small
from .evaluate import Turning, facing_of, in_range
from .train import contact_sheet

METRES_PER_UNIT = 0.6111  # the median of the chairs' sizes, as of the DeepSDF starter model


DESCRIPTION = "Chairs as pictures, their features turned in 3D: seen from the front third, without a surface"

CARD = """\
Chairs as pictures (HoloGAN, arxiv.org/abs/1904.01326): a learnt volume of features is styled by a code, turned as
the camera asks, and made a picture of {side}² by a 2D network. No density, no distance: there is no surface.

**Data.** The chairs of `backend/training/chairs.py` (infinigen 1.15.5, BSD-3-Clause; seeds 0–375), dressed in
random materials and rendered by `backend/training/chair_views.py`: the {pictures:,} pictures taken within
±{azimuth:.0f}° of the front, elevation 0° to 35°. The network was told no pose.

**Recipe.** `python -m backend train hologan`: seed 0, {steps:,} steps of {batch} pictures, one CPU core, about an
hour on a busy machine; {parameters:,} parameters. What is kept is the running mean of the weights. Viewpoints are
limited to the front third to keep the task small for so few steps.

**Figures** by a small network trained on the same chairs (`backend/training/hologan_figures.py`; no network for
photographs was used, so they compare with nothing published). Fréchet distance of its features between 1,024
generated and {half:,} real pictures, over training:

{series}

Other real pictures of the same chairs: {frechet_of_other_real_pictures:.1f}; the 13 chairs of the cards, not
trained on: {frechet_of_held_out_chairs:.1f} (104 pictures); noise: {frechet_of_noise:.0f}.

**Does it turn?** Asked for an azimuth, the picture seems taken from it times {slope:.2f}, with {error:.0f}° of root
mean square error around {offset:.0f}°, where the measuring network itself errs by {own:.0f}° on real pictures of
chairs it never saw. Correlation {correlation:.2f}.

**Does it stay itself?** Mean distance of what the network takes for a chair's identity, unit vectors: between views
of one code {same:.2f}, of different codes {other:.2f}; real chairs {real_same:.2f} and {real_other:.2f}.

**View consistency**, that is how well neighbouring views agree by reprojection, is measured in docs/models.md.

{weak}
"""


def export(run: Path, views: Path, out: Path, config: HoloGANTraining, weak: str) -> Path:
    """Write the starter model's folder `out/model` from the last snapshot of a run and `out/figures.json`."""
    found = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    steps = max(int(step) for step in found["frechet"])
    generator = Generator(config.generator).eval().requires_grad_(False)
    generator.load_state_dict(load_file(run / "snapshots" / f"step{steps:06d}.safetensors"))
    real = in_range(chair_views.load_views(views, range(chair_views.NUM_TRAIN), ("images", "azimuths")), config.azimuth)
    turned = Turning(**found["turning"])
    shown = list(found["frechet"])
    series = "| steps |" + "".join(f" {int(step):,} |" for step in shown) + "\n|---|" + "---|" * len(shown)
    series += "\n| distance |" + "".join(f" {found['frechet'][step]:.1f} |" for step in shown)
    same, other = found["identity_views_and_others"]
    real_same, real_other = found["identity_views_and_others_real"]
    text = CARD.format(
        side=config.generator.side, pictures=len(real), half=(len(real) + 1) // 2, steps=steps, batch=config.batch,
        azimuth=math.degrees(config.azimuth), parameters=sum(p.numel() for p in generator.parameters()),
        series=series, slope=turned.slope, offset=turned.offset, error=turned.error,
        correlation=abs(turned.correlation),
        own=found["azimuth_error_of_the_network_on_held_out_chairs"], same=same, other=other, real_same=real_same,
        real_other=real_other, weak=weak, **{key: found[key] for key in found if key.startswith("frechet_of_")},
    )  # fmt: skip
    card = ModelCard(
        kind="hologan",
        label="Chairs (HoloGAN)",
        description=DESCRIPTION,
        licence="GPL-3.0-or-later; trained on procedural chairs made with infinigen (BSD-3-Clause)",
        non_commercial=False,
        constructor={
            "network": asdict(config.generator),
            "facing": asdict(facing_of(turned, chair_views.CUBE_HALF)),
        },
        source="starter",
        metres_per_unit=METRES_PER_UNIT,
        pose_prior={
            "radius": round(chair_views.DISTANCE * METRES_PER_UNIT, 4),
            "fov": chair_views.FOV,
            "azimuth": (-config.azimuth, config.azimuth),
            "elevation": config.elevation,
            "default_azimuth": math.radians(25),
            "default_elevation": math.radians(18),
        },
        background="white",
        card=text.strip() + "\n",
    )
    folder = out / "model"
    save_model(folder, card, generator.state_dict())
    model = load_model(folder)
    with torch.no_grad():
        thumbnail = model.synthesize(model.mapping(model.sample_z(0))[0]).render(from_wire(orbit(model.info, 256)))
    picture(thumbnail, None).save(folder / "thumbnail.png", optimize=True)
    contact_sheet(generator, config, rows=6, columns=9, scale=1).save(out / "sweep.png", optimize=True)
    return folder


def main(arguments: list[str]) -> None:
    """Export a run, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path, help="the folder that backend.training.data.chair_views filled")
    parser.add_argument("out", type=Path, help="folder with figures.json; model/ and sweep.png are written there")
    parser.add_argument("run", type=Path, help="the folder of a training run")
    parser.add_argument("--weak", default="", help="the card's sentences about weak points")
    options = parser.parse_args(arguments)
    sys.stdout.write(f"{export(options.run, options.views, options.out, small(), options.weak)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
