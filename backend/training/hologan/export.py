"""Export a HoloGAN run to the starter model's folder, with its card.

`python -m backend.training.hologan.export VIEWS OUT RUN` reads OUT/figures.json (backend.training.hologan.evaluate),
and writes OUT/model and OUT/sweep.png.
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
from ..data.chairs import LICENCE, METRES_PER_UNIT
from ..images import composited
from .config import HoloGANTraining, small
from .evaluate import Turning, facing_of, in_range
from .train import contact_sheet

DESCRIPTION = "Images of chairs from features rotated in 3D: views of the front third, without a surface"

CARD = """\
Images of chairs (HoloGAN, arxiv.org/abs/1904.01326): a learnt volume of features is styled by a code, rotated to the
camera's view, and turned into an image of {side}² by a 2D network. No density, no distance: there is no surface.

**Data.** The chairs of `backend/training/data/chairs.py` (infinigen 1.15.5, BSD-3-Clause; seeds 0–375), rendered in
random materials by `backend/training/data/chair_views.py`: the {images:,} images taken within ±{azimuth:.0f}° of the
front, elevation 0° to 35°. The network got no poses.

**Recipe.** `python -m backend train hologan`: seed 0, {steps:,} steps of {batch} images, one CPU core, about an
hour on a busy machine; {parameters:,} parameters. The result is the running mean of the weights. Viewpoints are
limited to the front third to keep the task small for so few steps.

**Figures** by a small network trained on the same chairs (`backend/training/features.py`; no network trained on
photographs was used, so they cannot be compared with published ones). Fréchet distance of its features between 1,024
generated and {half:,} real images, over training:

{series}

Other real images of the same chairs: {frechet_of_other_real_pictures:.1f}; the 13 held-out chairs:
{frechet_of_held_out_chairs:.1f} (104 images); noise: {frechet_of_noise:.0f}.

**Rotation.** The measured azimuth is the requested one times {slope:.2f}, with {error:.0f}° of root mean square error
around {offset:.0f}°; the measuring network itself errs by {own:.0f}° on real images of held-out chairs.
Correlation {correlation:.2f}.

**Identity.** Mean distance of the network's identity vectors (unit length): between views
of one code {same:.2f}, of different codes {other:.2f}; real chairs {real_same:.2f} and {real_other:.2f}.

**View consistency**, the agreement of neighbouring views by reprojection, is measured in docs/models.md.

{weak}
"""


def export(run: Path, views: Path, out: Path, config: HoloGANTraining, weak: str) -> Path:
    """Write the model folder `out/model` from the last snapshot of a run and `out/figures.json`."""
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
        side=config.generator.side, images=len(real), half=(len(real) + 1) // 2, steps=steps, batch=config.batch,
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
        licence=LICENCE,
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
    composited(thumbnail, None).save(folder / "thumbnail.png", optimize=True)
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
