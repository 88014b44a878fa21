"""Train EditNeRF: an auto-decoder learns a conditional radiance field and two codes for each object.

The loss is the paper's (Eq. 3 of arxiv.org/abs/2105.06466): squared errors of the pixels of posed images, here with
their alpha and a small prior on the codes. Where images have alpha, the field is evaluated inside the visual hull of
an object alone, which leaves few samples of a ray; random points outside it teach that there is nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image as PIL
from torch import Tensor

from addon.wire.errors import UnusableDataset

from ...cameras import Camera
from ...generators.editnerf.codes import fit_gaussian, rank_of
from ...generators.editnerf.model import ConditionalField, EditNeRF, EditNeRFConfig, Embedded, composite
from ...generators.editnerf.scene import EditNeRFGenerator, load
from ...models.card import ModelCard
from ...models.store import save_model
from ...progress import silent
from ...rendering import sampling
from .. import runs
from ..adversarial.card import trained_card
from ..adversarial.watch import samples
from ..data.image_folder import read_images
from ..data.training_images import TrainingImages
from ..images import composited, image_grid, to_pil
from ..runs import CHECKPOINT, Loop, State
from .config import EditNeRFTraining, official, small
from .data import Family, Rays, family_of

CARD = """Trained by `python -m backend train editnerf`: {objects} objects, {views} images of {side}² pixels, {steps}
steps.

Shape and colour have a code each. Seeds draw both from Gaussians fitted to the codes of the training objects; the
sliders *Shape of* and *Colours of* take those of a training object."""


def train(
    config: EditNeRFTraining,
    out: Path | None,
    family: Family,
    *,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
    report_steps: int = 100,
    checkpoint_seconds: float = 60.0,
    draw_seconds: float = 900.0,
    draw: Callable[[Path, EditNeRF], None] | None = None,
) -> EditNeRF:
    """Train, or resume from `out/checkpoint.safetensors` (None keeps nothing). Returns the networks with their codes.

    A killed run loses at most `checkpoint_seconds`. `draw(path, network)` draws `out/progress.png` now and then.

    Raises:
        ValueError: the checkpoint in `out` belongs to another configuration or number of objects.
    """
    torch.manual_seed(config.seed)
    count, model = family.num_objects, config.model
    network = EditNeRF(
        replace(model, num_codes=count, rank=(rank_of(count, model.shape_dim), rank_of(count, model.color_dim)))
    )
    with torch.no_grad():
        for field in (network.fine, network.coarse):
            if field is not None:
                field.density.bias.fill_(1.0)  # a ReLU that starts shut learns nothing
        network.codes.copy_(config.code_std * torch.randn(network.codes.shape))
    codes = network.codes.requires_grad_()
    groups: list[dict[str, Any]] = [{"params": list(network.parameters())}, {"params": [codes]}]
    optimizer = torch.optim.Adam(groups)
    state = State(config, {"network": network}, {"": optimizer}, size="the number of objects")
    loop = Loop(
        state, None if out is None else out / CHECKPOINT, config.steps, progress=progress, report_steps=report_steps,
        checkpoint_seconds=checkpoint_seconds, first_draw_seconds=300.0, draw_seconds=draw_seconds,
        draw=None if draw is None else lambda path: draw(path, network),
    )  # fmt: skip
    journal: runs.Journal | None = None
    for step in loop:
        network.train()
        for group, rate in zip(optimizer.param_groups, (config.network_rate, config.code_rate), strict=True):
            group["lr"] = rate * _rate_factor(config, step)
        random = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        losses = step_losses(config, network, codes, family, random)
        runs.update(optimizer, losses["loss"])
        if journal is None:
            journal = runs.Journal(out or Path(), losses, 0.99, tensorboard=False)
        journal.add(value.detach() for value in losses.values())
        loop.report(journal if out is not None else str(journal))
    network.codes = codes.detach()
    fit_gaussian(network)
    return network.eval().requires_grad_(False)


def seen_by(model: EditNeRFConfig, images: TrainingImages) -> EditNeRFConfig:
    """Return the config with the depths and the view of these images: the object is inside the unit sphere."""
    prior = images.prior
    return replace(
        model,
        near=round(prior.radius - 1, 4),
        far=round(prior.radius + 1, 4),
        extent=1.0,
        fov_degrees=round(math.degrees(prior.fov), 4),
    )


def step_losses(
    config: EditNeRFTraining, network: EditNeRF, codes: Tensor, family: Family, random: torch.Generator
) -> dict[str, Tensor]:
    """Return the loss of one step, and its parts."""
    instances = torch.randperm(family.num_objects, generator=random)[: config.instances_per_step]
    rays = family.rays(instances, config.rays_per_instance, random)
    own = torch.arange(len(instances)).repeat_interleave(config.rays_per_instance)
    ws = codes[instances]
    t = sampling.even(config.model.near, config.model.far, config.model.num_samples).expand(len(own), -1)
    t = sampling.stratified(t, torch.rand(t.shape, generator=random))
    found: dict[str, Tensor] = {"loss": config.code_weight * ws.square().sum(-1).mean()}
    dense = torch.zeros(())
    for name, field in (("coarse", network.coarse), ("color", network.fine)):
        if field is None:
            continue
        with _precision():
            embedded = field.embed(ws)
            raw, kept = _inside(field, embedded, own, family, rays, t)
            dense = kept.float().mean()
            if family.hulls is not None and config.empty_points:
                found["empty"] = _emptiness(field, embedded, instances, family, rays, t, kept, config, random)
                found["loss"] = found["loss"] + config.empty_weight * found["empty"]
        seen = composite(raw.float(), t, rays.directions.norm(dim=-1, keepdim=True), config.model.white_background)
        found[name] = F.mse_loss(seen.rgb, rays.rgb)
        found["loss"] = found["loss"] + found[name]
        if rays.alpha is not None:
            found["alpha"] = F.mse_loss(seen.alpha, rays.alpha)
            found["loss"] = found["loss"] + config.alpha_weight * found["alpha"]
        if name == "coarse":
            u = torch.rand(len(t), config.model.num_fine, generator=random)
            t = network.fine_samples(t, seen.weights, u)
    return found | {"inside": dense, "codes": ws.detach().square().mean().sqrt()}


def _inside(
    field: ConditionalField, embedded: Embedded, own: Tensor, family: Family, rays: Rays, t: Tensor
) -> tuple[Tensor, Tensor]:
    """Return raw samples [rays, samples, 4], empty outside the hulls, and which samples are inside."""
    points = rays.origins[:, None] + rays.directions[:, None] * t[..., None]
    kept = family.may_be_dense(rays.instance[:, None], points)
    ray, place = kept.nonzero(as_tuple=True)
    directions = F.normalize(rays.directions, dim=-1)[ray]
    values = field(embedded.at(own[ray]), points[ray, place], directions)
    return values.new_zeros(*t.shape, 4).index_put((ray, place), values), kept


def _emptiness(
    field: ConditionalField,
    embedded: Embedded,
    instances: Tensor,
    family: Family,
    rays: Rays,
    t: Tensor,
    kept: Tensor,
    config: EditNeRFTraining,
    random: torch.Generator,
) -> Tensor:
    """Return the mean opacity of a step at points outside the hulls: half anywhere in the cube, half beside hulls."""
    count = config.empty_points
    anywhere = 2 * torch.rand(len(instances), count // 2, 3, generator=random) - 1
    # the first kept sample of random rays, moved
    chosen = torch.randint(config.rays_per_instance, (len(instances), count - count // 2), generator=random)
    chosen = chosen + torch.arange(len(instances))[:, None] * config.rays_per_instance
    first = kept.float().argmax(-1)
    beside = rays.origins[chosen] + rays.directions[chosen] * t[chosen, first[chosen], None]
    beside = beside + 0.08 * torch.randn(beside.shape, generator=random)
    points = torch.cat((anywhere, beside), 1)
    own = torch.arange(len(instances))[:, None].expand(points.shape[:2])
    outside = ~family.may_be_dense(instances[:, None], points) & (points.abs() < 1).all(-1)
    raw = field.raw_density(embedded.at(own[outside]), points[outside])
    step = (config.model.far - config.model.near) / config.model.num_samples
    return (1 - torch.exp(-F.relu(raw.float()) * step)).mean()


def _precision() -> contextlib.AbstractContextManager[None]:
    """Matrix products in bfloat16, twice as fast; the encoding stays in float32."""
    return torch.autocast("cpu", torch.bfloat16)


def _rate_factor(config: EditNeRFTraining, step: int) -> float:
    """Return the factor of the learning rates: a linear warm-up, then half a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return min(1.0, (step + 1) / config.rate_warmup) * (config.final_rate + (1 - config.final_rate) * cosine)


def card_of(config: EditNeRFTraining, network: EditNeRF, data: TrainingImages) -> ModelCard:
    """Return the card of a model that was trained on these images."""
    views = 0 if data.objects is None else int((data.objects < network.config.num_codes).sum())
    text = CARD.format(objects=network.config.num_codes, views=views, side=config.side, steps=config.steps)
    what = "{what} as radiance fields: one network, and a shape and a colour code for each object"
    return trained_card(data, "editnerf", "EditNeRF", what, dataclasses.asdict(network.config), text)


def model_of(config: EditNeRFTraining, network: EditNeRF, data: TrainingImages) -> tuple[ModelCard, dict[str, Tensor]]:
    """Return card and tensors of the model as it is now, in the middle of its training or behind it."""
    found = EditNeRF(network.config)
    found.load_state_dict({name: value.detach().clone() for name, value in network.state_dict().items()})
    fit_gaussian(found)
    return card_of(config, found, data), found.state_dict()


@torch.no_grad()
def compared(generator: EditNeRFGenerator, data: TrainingImages, count: int = 8) -> list[PIL.Image]:
    """Return training images of the first objects and, below, renders of their codes from the same cameras."""
    assert data.objects is not None and data.world_from_camera is not None and data.intrinsics is not None
    side = data.images.shape[-1]
    firsts = [int(torch.nonzero(data.objects == number)[number % 4]) for number in range(count)]
    targets = [to_pil(data.images[index].permute(1, 2, 0) / 255) for index in firsts]
    renders = []
    for number, index in enumerate(firsts):
        scale = torch.tensor([[side], [side], [1.0]])
        camera = Camera(data.world_from_camera[index], data.intrinsics[index] * scale, side, side)
        renders.append(composited(generator.synthesize(generator.network.codes[number]).render(camera)))
    return [*targets, *renders]


def train_family(
    config: EditNeRFTraining,
    out: Path,
    *,
    data: Path,
    progress: Callable[..., None] = silent,
) -> Path:
    """Train on the posed images of `data`, and write a model folder `out/model`, with sheets beside it.

    Raises UnusableDataset: the images have no cameras, or do not say which object they show.
    """
    background = "white" if config.model.white_background else "black"
    images = read_images(data, config.side, needs_poses=True, background=background)
    if images.objects is None:
        raise UnusableDataset(
            f"The images of {data.name} do not say which object they show: EditNeRF learns a code for each. Give every "
            'frame of transforms.json its "object", or render a set with Make Training Set.'
        )
    config = replace(config, model=seen_by(config.model, images))
    family = family_of(images, config.objects, config.hull_resolution)

    def draw(path: Path, network: EditNeRF) -> None:
        card, tensors = model_of(config, network, images)
        save_model(out / "model", card, tensors)
        generator = load("model", card, tensors)
        image_grid(compared(generator, images, min(8, family.num_objects)), 8).save(path)
        samples(generator, seeds=9).save(path.with_name("samples.png"))

    train(config, out, family, progress=progress, draw=draw)
    return out / "model"


def main(arguments: list[str]) -> None:
    """Train on posed images of a family of objects, as Make Training Set and `training-set` write them."""
    parser = runs.recipe_options(
        "editnerf", __doc__, data="python -m backend training-set", out="model",
        published="the networks of the paper, for a GPU",
    )  # fmt: skip
    parser.add_argument("--objects", type=int, help="train on the first objects alone")
    options = parser.parse_args(arguments)
    config = official() if options.published else small()
    changes = {name: value for name in ("steps", "objects") if (value := getattr(options, name)) is not None}
    folder = train_family(replace(config, **changes), options.out, data=options.data, progress=runs.say)
    sys.stdout.write(f"{folder}\n")
