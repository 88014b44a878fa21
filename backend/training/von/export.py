"""From trained networks to the Visual Object Networks starter model: its figures, its card, its pictures.

    figures   python -m backend.training.von_export figures VIEWS OUT RUN FEATURES
    export    python -m backend.training.von_export export VIEWS OUT RUN SHAPES   OUT/model, OUT/sweep.png, …

RUN is the folder of `von.py`, FEATURES what `hologan_figures features` trained, SHAPES the file of `von_shapes.py` or
the folder of a 3D-GAN of this project whose voxels are 32³.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image as Picture
from safetensors.torch import load_file

from ...cameras import from_wire, orbit
from ...generators.gan3d.scene import GAN3D
from ...generators.von.model import ShapeNetwork
from ...generators.von.scene import VON, VONConfig, VONScene
from ...models.card import ModelCard, read_card
from ...models.library import load_model
from ...models.store import save_model, write_atomically
from ..data import chair_views
from ..hologan.export import METRES_PER_UNIT
from ..images import picture
from .data import CHAIR_OPTICS, VOXEL, Data, chair_data
from .evaluate import PICTURES, measure, read_run
from .shapes import ShapeTraining


def read_shapes(path: Path) -> tuple[ShapeNetwork, bool]:
    """Return the shape network of a file of `von_shapes.py` or of the folder of a 3D-GAN, and whether it is the latter.

    Raises:
        ValueError: the 3D-GAN makes other voxels than the sketches were trained on.
    """
    if path.is_file():
        config = ShapeTraining()
        network = ShapeNetwork(config.z_dim, config.widths, logit_scale=1.0)
        network.load_state_dict(load_file(path))
        return network.eval(), False
    model = load_model(path)
    card = read_card(path)
    if not isinstance(model, GAN3D) or model.side != chair_views.VOXELS or card.constructor.get("prior") != "normal":
        raise ValueError(f"{path} is no 3D-GAN of {chair_views.VOXELS}³ voxels with normally distributed codes")
    official = model.generator.state_dict()
    widths = tuple(official[f"layers.{i}.0.weight"].shape[1] for i in range(len(model.generator.layers)))
    network = ShapeNetwork(model.z_dim, widths, logit_scale=1.0)
    network.load_state_dict(official)
    return network.eval(), True


CARD = """\
Chairs whose shape, viewpoint and texture are chosen one by one (Visual Object Networks, arxiv.org/abs/1812.02725):
a code becomes voxels of 32³, their depth and silhouette at a viewpoint are painted by a 2D network in a second code.

**Data.** The chairs of `backend/training/chairs.py` (infinigen 1.15.5, BSD-3-Clause; seeds 0–375), dressed in random
materials and rendered by `backend/training/chair_views.py` at 64²: {pictures:,} pictures all round, elevation 0° to
35°.

**Recipe.** Texture: `python -m backend train von`, seed {seed}, {steps:,} steps of {batch} pictures and {batch}
sketches, one core of a busy machine, under an hour. Unpaired, as published: adversarial, both cycles, the code's
reconstruction and prior; {paired}. Kept is the running mean of the weights. {shapes}
{parameters:,} parameters in all.

**Figures** by the small network of `backend/training/hologan_figures.py`, trained on the same chairs; they compare
with nothing published. Fréchet distance of its features between {painted} painted sketches and {half:,} real pictures:

{series}

Other real pictures of the same chairs: {frechet_of_other_real_pictures:.1f}; of the 13 chairs not trained on:
{frechet_of_held_out_chairs:.1f}.

**Does it stay itself?** Mean distance of what that network takes for a chair's identity, between views of one shape
in one texture {same:.2f}, of different ones {other:.2f}; real chairs {real_same:.2f} and {real_other:.2f}.

**Textures of pictures.** Chairs not trained on, repainted with the code of their own picture: the mean colour of the
object is off by {own:.3f} (of 1); with random codes by {random:.3f}.

{weak}
"""


def export(run_folder: Path, views: Path, out: Path, shapes: Path, weak: str) -> Path:
    """Write `out/model` and the pictures, from a run and `out/figures.json`."""
    found = json.loads((out / "figures.json").read_text(encoding="utf-8"))
    run = read_run(run_folder)
    network, adversarial = read_shapes(shapes)
    width = network.layers[0][0].weight  # type: ignore[index]
    config = VONConfig(
        shape_dim=width.shape[0],
        shape_widths=tuple(layer[0].weight.shape[1] for layer in network.layers),  # type: ignore[index]
        logit_scale=1.0,
        mirror=True,
        axes="zyx",
        texture_dim=run.config.z_dim,
        texture_width=run.config.width,
        blocks=run.config.blocks,
        encoder_width=run.config.encoder_width,
        image_size=chair_views.SIZE,
        crop=False,
        distance=CHAIR_OPTICS.distance,
        half_width=CHAIR_OPTICS.half_width,
        reach=CHAIR_OPTICS.reach,
        samples_per_pixel=CHAIR_OPTICS.samples_per_pixel,
    )
    model = VON(config)
    model.shape, model.texture, model.encoder = network, run.mean, run.encoder
    steps = list(found["frechet"])
    series = "| steps |" + "".join(f" {int(s):,} |" for s in steps) + "\n|---|" + "---|" * len(steps)
    series += "\n| distance |" + "".join(f" {found['frechet'][s]:.1f} |" for s in steps)
    same, other = found["identity_views_and_others"]
    real_same, real_other = found["identity_views_and_others_real"]
    errors = found["colour_error_own_code_and_random"]
    count = chair_views.NUM_TRAIN * chair_views.NUM_VARIANTS * chair_views.VIEWS_PER_VARIANT
    paired = (
        f"and the paired term of a conditional VAE-GAN, weight {run.config.paired:g}"
        if run.config.paired
        else "no term that knows which picture belongs to which sketch"
    )
    text = CARD.format(
        pictures=count, half=len(range(0, count, 5)), steps=found["steps"], seed=run.config.seed,
        batch=run.config.batch, painted=PICTURES, paired=paired, series=series, same=same, other=other,
        real_same=real_same, real_other=real_other, own=errors["own"], random=errors["random"],
        parameters=sum(parameter.numel() for parameter in model.parameters()), weak=weak,
        shapes=(
            "Shape: the generator of this project's 3D-GAN."
            if adversarial
            else "Shape: `python -m backend train von-shapes`, a decoder of principal components without a "
            "discriminator, not the paper's 3D-GAN."
        ),
        **{key: found[key] for key in found if key.startswith("frechet_of_")},
    )  # fmt: skip
    card = ModelCard(
        kind="von",
        label="Chairs (Visual Object Networks)",
        description="Chairs in voxels, painted: shape, viewpoint and texture one by one",
        licence="GPL-3.0-or-later; trained on procedural chairs made with infinigen (BSD-3-Clause)",
        non_commercial=False,
        constructor={**asdict(config), "half_edge": VOXEL},
        source="starter",
        metres_per_unit=METRES_PER_UNIT,
        pose_prior={
            "azimuth": (-math.pi, math.pi),
            "elevation": chair_views.ELEVATIONS,
            "default_azimuth": math.radians(35),
            "default_elevation": math.radians(18),
        },
        background="white",
        card=text.strip() + "\n",
    )
    folder = out / "model"
    save_model(folder, card, model.state_dict())
    loaded = load_model(folder)
    assert isinstance(loaded, VON)
    first = scene_of(loaded, 0, 0).render(from_wire(orbit(loaded.info, 256)))
    picture(first, None).save(folder / "thumbnail.png", optimize=True)
    sweep(loaded).save(out / "sweep.png", optimize=True)
    grid(loaded).save(out / "shapes_and_textures.png", optimize=True)
    transfer(loaded, chair_data(views, chair_views.HELD_OUT)).save(out / "transfer.png", optimize=True)
    return folder


def scene_of(model: VON, shape_seed: int, texture_seed: int) -> VONScene:
    """Return the scene of a seed of a shape and one of a texture."""
    shape = model.mapping(model.sample_z(shape_seed))[0]
    texture = model.mapping(model.sample_z(texture_seed))[0]
    return model.synthesize(torch.stack((shape[0], texture[1])))


@torch.no_grad()
def sweep(model: VON, rows: int = 5, columns: int = 9, size: int = 128) -> Picture.Image:
    """Return a picture: each row one shape in one texture, turned once round."""
    page = Picture.new("RGB", (columns * size, rows * size), "white")
    for row in range(rows):
        scene = scene_of(model, row, row + 10)
        for column in range(columns):
            azimuth = (column / columns * 2 - 1) * math.pi
            image = scene.render(from_wire(orbit(model.info, size, azimuth=azimuth, elevation=0.3)))
            page.paste(picture(image), (column * size, row * size))
    return page


@torch.no_grad()
def grid(model: VON, rows: int = 5, columns: int = 6, size: int = 128) -> Picture.Image:
    """Return a picture: a shape in each row, with the sketch (depth) that is painted, and a texture in each column."""
    page = Picture.new("RGB", ((columns + 1) * size, rows * size), "white")
    camera = from_wire(orbit(model.info, size))
    prior = model.info.pose_prior
    for row in range(rows):
        sketch = scene_of(model, row, 0).sketch(prior.default_azimuth, prior.default_elevation)
        optics = model.config.optics
        shade = ((optics.far - sketch.depth[0]) / (2 * optics.reach)).clamp(0, 1) * 255
        page.paste(Picture.fromarray(shade.byte().numpy()).resize((size, size)), (0, row * size))
        for column in range(columns):
            image = scene_of(model, row, 20 + column).render(camera)
            page.paste(picture(image), ((column + 1) * size, row * size))
    return page


@torch.no_grad()
def transfer(model: VON, data: Data, count: int = 6, size: int = 128) -> Picture.Image:
    """Return a picture: above, chairs that were not trained on; below, two shapes in their textures."""
    page = Picture.new("RGB", (count * size, 3 * size), "white")
    camera = from_wire(orbit(model.info, size))
    for column in range(count):
        image = data.images[(2 * column + 1) * chair_views.NUM_VARIANTS * chair_views.VIEWS_PER_VARIANT + 4 + column]
        page.paste(Picture.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size)), (column * size, 0))
        code = model.texture_code(image[None] / 255)[0]
        for row, seed in enumerate((1, 2)):
            shape = model.mapping(model.sample_z(seed))[0, 0, : model.config.shape_dim]
            made = model.synthesize(model.rows(shape, code)).render(camera)
            page.paste(picture(made), (column * size, (row + 1) * size))
    return page


def main(arguments: list[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["figures", "export"])
    parser.add_argument("views", type=Path, help="the folder that chair_views.py filled")
    parser.add_argument("out", type=Path)
    parser.add_argument("run", type=Path, help="the folder of a training")
    parser.add_argument("other", type=Path, help="FEATURES for figures, SHAPES for export")
    parser.add_argument("--weak", default="", help="export: what the card says of weak points")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "figures":
        found = measure(options.run, options.views, options.other)
        write_atomically(options.out / "figures.json", (json.dumps(found, indent=1) + "\n").encode())
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write(f"{export(options.run, options.views, options.out, options.other, options.weak)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
