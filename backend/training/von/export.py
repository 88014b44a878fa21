"""Export trained networks to the Visual Object Networks starter model, with its card and images.

`python -m backend.training.von.export VIEWS OUT RUN SHAPES` reads OUT/figures.json (backend.training.von.evaluate), and
writes OUT/model, OUT/sweep.png, OUT/shapes_and_textures.png and OUT/transfer.png. SHAPES is the file of `train
von-shapes`, or the folder of a 3D-GAN of this project whose voxels are 32³.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image as PIL
from safetensors.torch import load_file

from ...cameras import from_wire, orbit
from ...generators.gan3d.scene import GAN3D
from ...generators.von.model import ShapeNetwork
from ...generators.von.scene import VON, VONConfig, VONScene
from ...models.card import ModelCard, read_card
from ...models.library import load_model
from ...models.store import save_model
from ..data import chair_views
from ..data.chairs import LICENCE, METRES_PER_UNIT
from ..images import composited
from .data import CHAIR_OPTICS, VOXEL, Data, chair_data
from .evaluate import NUM_PAINTED, read_run
from .shapes import ShapeTraining


def read_shapes(path: Path) -> tuple[ShapeNetwork, bool]:
    """Load the shape network of a `train von-shapes` file or of a 3D-GAN's folder, and whether it is the latter.

    Raises:
        ValueError: the 3D-GAN generates other voxels than the sketches were trained on.
    """
    if path.is_file():
        config = ShapeTraining()
        network = ShapeNetwork(config.z_dim, config.widths, logit_scale=1.0)
        network.load_state_dict(load_file(path))
        return network.eval(), False
    model = load_model(path)
    card = read_card(path)
    if not isinstance(model, GAN3D) or model.side != chair_views.VOXELS or card.constructor.get("prior") != "normal":
        raise ValueError(f"{path} is not a 3D-GAN of {chair_views.VOXELS}³ voxels with normally distributed codes")
    official = model.generator.state_dict()
    widths = tuple(official[f"layers.{i}.0.weight"].shape[1] for i in range(len(model.generator.layers)))
    network = ShapeNetwork(model.z_dim, widths, logit_scale=1.0)
    network.load_state_dict(official)
    return network.eval(), True


CARD = """\
Chairs whose shape, viewpoint and texture are chosen one by one (Visual Object Networks, arxiv.org/abs/1812.02725):
a code is decoded to voxels of 32³; a 2D network paints their depth and silhouette at a viewpoint by a second code.

**Data.** The chairs of `backend/training/data/chairs.py` (infinigen 1.15.5, BSD-3-Clause; seeds 0–375), rendered in
random materials by `backend/training/data/chair_views.py` at 64²: {images:,} images from all around, elevation 0° to
35°.

**Recipe.** Texture: `python -m backend train von`, seed {seed}, {steps:,} steps of {batch} images and {batch}
sketches, one core of a busy machine, under an hour. Unpaired, as published: adversarial, both cycles, the code's
reconstruction and prior; {paired}. The result is the running mean of the weights. {shapes}
{parameters:,} parameters in all.

**Figures** by the small network of `backend/training/features.py`, trained on the same chairs; they cannot be
compared with published ones. Fréchet distance of its features between {painted} painted sketches and {half:,} real
images:

{series}

Other real images of the same chairs: {frechet_of_other_real_pictures:.1f}; of the 13 held-out chairs:
{frechet_of_held_out_chairs:.1f}.

**Identity.** Mean distance of that network's identity vectors between views of one shape
in one texture {same:.2f}, of different ones {other:.2f}; real chairs {real_same:.2f} and {real_other:.2f}.

**Textures of images.** Held-out chairs, repainted with the code of their own image: the error of the object's mean
colour is {own:.3f} (of 1); with random codes {random:.3f}.

{weak}
"""


def export(run_folder: Path, views: Path, out: Path, shapes: Path, weak: str) -> Path:
    """Write `out/model` and its images, from a run and `out/figures.json`."""
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
        else "no term that knows which image belongs to which sketch"
    )
    text = CARD.format(
        images=count, half=len(range(0, count, 5)), steps=found["steps"], seed=run.config.seed,
        batch=run.config.batch, painted=NUM_PAINTED, paired=paired, series=series, same=same, other=other,
        real_same=real_same, real_other=real_other, own=errors["own"], random=errors["random"],
        parameters=sum(parameter.numel() for parameter in model.parameters()), weak=weak,
        shapes=(
            "Shape: the generator of this project's 3D-GAN."
            if adversarial
            else "Shape: `python -m backend train von-shapes`, a decoder of principal components without a "
            "discriminator, instead of the paper's 3D-GAN."
        ),
        **{key: found[key] for key in found if key.startswith("frechet_of_")},
    )  # fmt: skip
    card = ModelCard(
        kind="von",
        label="Chairs (Visual Object Networks)",
        description="Chairs as voxels, painted by a 2D network: separate shape, viewpoint and texture",
        licence=LICENCE,
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
    composited(first, None).save(folder / "thumbnail.png", optimize=True)
    sweep(loaded).save(out / "sweep.png", optimize=True)
    grid(loaded).save(out / "shapes_and_textures.png", optimize=True)
    transfer(loaded, chair_data(views, chair_views.HELD_OUT)).save(out / "transfer.png", optimize=True)
    return folder


def scene_of(model: VON, shape_seed: int, texture_seed: int) -> VONScene:
    """Return the scene of a shape's seed and a texture's seed."""
    shape = model.mapping(model.sample_z(shape_seed))[0]
    texture = model.mapping(model.sample_z(texture_seed))[0]
    return model.synthesize(torch.stack((shape[0], texture[1])))


@torch.no_grad()
def sweep(model: VON, rows: int = 5, columns: int = 9, size: int = 128) -> PIL.Image:
    """Return an image: each row one shape in one texture, rotated once round."""
    page = PIL.new("RGB", (columns * size, rows * size), "white")
    for row in range(rows):
        scene = scene_of(model, row, row + 10)
        for column in range(columns):
            azimuth = (column / columns * 2 - 1) * math.pi
            image = scene.render(from_wire(orbit(model.info, size, azimuth=azimuth, elevation=0.3)))
            page.paste(composited(image), (column * size, row * size))
    return page


@torch.no_grad()
def grid(model: VON, rows: int = 5, columns: int = 6, size: int = 128) -> PIL.Image:
    """Return an image: a shape in each row, with its sketch (depth), and a texture in each column."""
    page = PIL.new("RGB", ((columns + 1) * size, rows * size), "white")
    camera = from_wire(orbit(model.info, size))
    prior = model.info.pose_prior
    for row in range(rows):
        sketch = scene_of(model, row, 0).sketch(prior.default_azimuth, prior.default_elevation)
        optics = model.config.optics
        shade = ((optics.far - sketch.depth[0]) / (2 * optics.reach)).clamp(0, 1) * 255
        page.paste(PIL.fromarray(shade.byte().numpy()).resize((size, size)), (0, row * size))
        for column in range(columns):
            image = scene_of(model, row, 20 + column).render(camera)
            page.paste(composited(image), ((column + 1) * size, row * size))
    return page


@torch.no_grad()
def transfer(model: VON, data: Data, count: int = 6, size: int = 128) -> PIL.Image:
    """Return an image: held-out chairs in the first row, two shapes in their textures below."""
    page = PIL.new("RGB", (count * size, 3 * size), "white")
    camera = from_wire(orbit(model.info, size))
    for column in range(count):
        image = data.images[(2 * column + 1) * chair_views.NUM_VARIANTS * chair_views.VIEWS_PER_VARIANT + 4 + column]
        page.paste(PIL.fromarray(image.permute(1, 2, 0).numpy()).resize((size, size)), (column * size, 0))
        code = model.texture_code(image[None] / 255)[0]
        for row, seed in enumerate((1, 2)):
            shape = model.mapping(model.sample_z(seed))[0, 0, : model.config.shape_dim]
            made = model.synthesize(model.rows(shape, code)).render(camera)
            page.paste(composited(made), (column * size, (row + 1) * size))
    return page


def main(arguments: list[str]) -> None:
    """Export a run, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", type=Path, help="the folder that backend.training.data.chair_views filled")
    parser.add_argument("out", type=Path, help="folder with figures.json; the model and images are written there")
    parser.add_argument("run", type=Path, help="the folder of a training run")
    parser.add_argument("shapes", type=Path, help="the file of a shape network, or the folder of a 3D-GAN")
    parser.add_argument("--weak", default="", help="the card's sentences about weak points")
    options = parser.parse_args(arguments)
    folder = export(options.run, options.views, options.out, options.shapes, options.weak)
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
