"""facebookresearch/StyleNeRF, training: schedule → discriminator → losses and regularisers of both networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from backend.generators.stylenerf.checkpoint import network_from_official, renamed
from backend.generators.stylenerf.discriminator import Discriminator, DiscriminatorConfig
from backend.generators.stylenerf.model import RenderNoise, StyleNeRF, camera_rays, pixel_grid
from backend.training.adversarial.losses import discriminator_loss, generator_loss
from backend.training.stylenerf.losses import grid_places, growth, path_consistency, path_lengths
from tests.parity.oracle import OracleSet, read_set

GROWTH = (500e3, 5000e3)
"""Images seen at the start and at the end of the growth."""
PATH_WEIGHT = LENGTH_WEIGHT = 2.0
LENGTH_DECAY = 0.01


def discriminator(set: OracleSet) -> Discriminator:
    """Return the official discriminator of a set."""
    kwargs, official = set.meta["D_kwargs"], set.weights_under("D/")
    sides = [kwargs["img_resolution"] >> i for i in range(kwargs["img_resolution"].bit_length() - 2)]
    channels = tuple(official[f"b{side}.fromrgb.weight"].shape[0] for side in sides)
    config = DiscriminatorConfig(sides[0], channels, kwargs["mbstd_group_size"], kwargs["conv_clamp"])
    model = Discriminator(config).to(official["b4.fc.weight"].dtype)
    ours = {
        _parameter(name): value
        for name, value in official.items()
        if not name.endswith("resample_filter") and name != "alpha"
    }
    model.load_state_dict(ours)
    return model


def _parameter(name: str) -> str:
    """Return our name of an official parameter of the discriminator."""
    block, _, rest = name.replace("fromrgb", "from_image").partition(".")
    if block != "b4":
        return f"blocks.{block[1:]}.{rest}"
    return rest if rest.startswith("from_image") else f"end.{rest}"


class Official:
    """The networks of a set and its inputs; phases run in the official order, for they change running statistics."""

    def __init__(self, set: OracleSet) -> None:
        self.set, self.inputs = set, set.inputs
        self.generator_set = read_set(set.path.parent.parent / "stylenerf.safetensors")
        if set.inputs["z"].dtype == torch.float64:
            self.generator_set = self.generator_set.to(torch.float64)
        constructor, weights = self.generator_set.meta["constructor"], self.generator_set.weights
        self.generator: StyleNeRF = network_from_official(constructor, weights).requires_grad_(True).train()
        self.discriminator = discriminator(set)
        self.grid = 8  # n_reg_samples: "8" in the set's description of the generator

    def draws(self, phase: str) -> list[Tensor]:
        """Return the random numbers of a phase, in the order they were drawn."""
        start = f"{phase}/draw"
        found = [(int(k[len(start) :].partition("_")[0]), v) for k, v in self.inputs.items() if k.startswith(start)]
        return [value for _, value in sorted(found, key=lambda item: item[0])]

    def generate(self, phase: str, alpha: float) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the image of a phase, its ws, and the path regulariser where upsampling blocks are active."""
        drawn, network = self.draws(phase), self.generator
        batch = len(drawn[0])
        ws = network.mapping(self.inputs["z"][:batch])
        _, target, _ = network.stage(alpha)
        offset = drawn[1] if drawn[1].shape == (batch, 2) else None
        first = 1 if offset is None else 2
        rays = drawn[first].shape[1]
        random = RenderNoise(*(x.reshape(batch, rays, -1) for x in drawn[first : first + 6]))
        pixels = network.pixels(alpha, like=ws).expand(batch, -1, -1)
        cameras = self.inputs["camera_mat"][:batch], self.inputs["world_mat"][:batch]
        codes = (None, self.inputs["z_shape_bg"][:batch])
        count = pixels.shape[1]

        def render(places: Tensor, which: slice):  # type: ignore[no-untyped-def]
            return network.render(ws, *camera_rays(places, *cameras), codes, random=random.part(which))

        image, _ = network.upsampled(render(pixels, slice(0, count)), ws, alpha)
        if offset is None:
            return image, ws, None
        places = grid_places(offset, target, self.grid)
        grid = pixel_grid(target, aligned_corners=False).to(ws)
        single = render(grid[places[..., 0] * target + places[..., 1]], slice(count, None))
        colors = network.colors_of_rays(single, ws, target)
        return image, ws, PATH_WEIGHT * path_consistency(image, colors, places)


def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Every recorded output, from the set's inputs and weights."""
    official = Official(set)
    out = {"schedule/alpha_nlevels_endlevel_before_target": _schedule(official)}
    for name, status in set.meta["alpha"].items():
        _discriminator_outputs(official, name, status["alpha"], out)
        _phases(official, name, status["alpha"], out)
    return {name: value.detach() for name, value in out.items() if name in set.expected}


def _schedule(official: Official) -> Tensor:
    rows, stages = [], official.generator.config.stages
    for images in official.inputs["schedule/images_seen"].tolist():
        alpha = growth(images, *GROWTH)
        _, target, _ = official.generator.stage(alpha)
        level = stages.index(target) + 1 if alpha > 0 else 0
        before = (official.generator.config.start_resolution, *stages)[max(level - 1, 0)]
        rows.append([alpha, len(stages), level, before, target])
    return torch.tensor(rows)


def _discriminator_outputs(official: Official, name: str, alpha: float, out: dict[str, Tensor]) -> None:
    real = official.inputs[f"{name}/real_at_resolution"].clone().requires_grad_()
    scores = official.discriminator(real)
    out[f"{name}/D_logits_real"] = scores
    (out[f"{name}/D_grad_image"],) = torch.autograd.grad(scores.sum(), real)
    _, _, blend = official.generator.stage(alpha)
    out[f"{name}/D_logits_real_with_4tuple_status"] = official.discriminator(real, blend)


def _phases(official: Official, name: str, alpha: float, out: dict[str, Tensor]) -> None:
    set, judge = official.set, official.discriminator
    generator = dict(official.generator.named_parameters())
    parameters = dict(judge.named_parameters())
    real = official.inputs[f"{name}/real_at_resolution"]

    def gradients(phase: str, kind: str, loss: Tensor, named: dict[str, Tensor], ours) -> None:  # type: ignore[no-untyped-def]
        start = f"{name}/{phase}/grad_{kind}/"
        wanted = [key.removeprefix(start) for key in set.expected if key.startswith(start)]
        found = torch.autograd.grad(loss, [named[ours(key)] for key in wanted], allow_unused=True) if wanted else ()
        for key, value in zip(wanted, found, strict=True):
            shape = set.expected[start + key].shape
            out[start + key] = torch.zeros(shape) if value is None else value.reshape(shape)

    blocks = [f"b{side}" for side in official.generator.config.upsampler.resolutions]

    # Gmain
    phase = f"{name}/Gmain"
    image, _, path = official.generate(phase, alpha)
    scores = judge(image)
    per_image = F.softplus(-scores)
    loss = generator_loss("published", scores) + (0 if path is None else path.mean())
    out |= {f"{phase}/img": image, f"{phase}/loss_Gmain": loss, f"{phase}/report/Loss_G_loss": per_image}
    out |= {f"{phase}/report/Loss_scores_fake": scores, f"{phase}/report/Loss_signs_fake": scores.sign()}
    if path is not None:
        out |= {f"{phase}/nerf_path_reg": path, f"{phase}/report/Loss_G_reg_loss": path}
    gradients("Gmain", "G", loss, generator, lambda key: renamed(key, blocks))

    # Greg, on half of the batch
    phase = f"{name}/Greg"
    if drawn := official.draws(phase):
        image, ws, _ = official.generate(phase, alpha)
        lengths = path_lengths(image, ws, drawn[-1])
        mean_length = torch.zeros([]).to(lengths).lerp(lengths.mean(), LENGTH_DECAY)
        penalty = (
            lengths - mean_length
        ).square()  # not detached: as in StyleGAN2, the mean has a share of the gradient
        loss = LENGTH_WEIGHT * penalty.mean()
        out |= {f"{phase}/loss_Gpl": loss, f"{phase}/pl_mean": mean_length}
        out |= {f"{phase}/report/Loss_pl_penalty": penalty, f"{phase}/report/Loss_G_reg": LENGTH_WEIGHT * penalty}
        gradients("Greg", "G", loss, generator, lambda key: renamed(key, blocks))

    # Dmain
    phase = f"{name}/Dmain"
    image, _, path = official.generate(phase, alpha)
    fake, scores = judge(image.detach()), judge(real)
    of_fake = F.softplus(fake).mean() + (0 if path is None else path.mean().detach())
    of_real = discriminator_loss("published", scores, fake) - F.softplus(fake).mean()
    out |= {
        f"{phase}/loss_Dgen": of_fake,
        f"{phase}/loss_Dr1": of_real,
        f"{phase}/report/Loss_D_loss": of_fake + of_real,
    }
    out |= _signs(phase, "real", scores) | _signs(phase, "fake", fake)
    if path is not None:
        out[f"{phase}/report/Loss_D_reg_loss"] = path
    gradients("Dmain", "D", of_fake + of_real, parameters, _parameter)

    # Dreg
    phase = f"{name}/Dreg"
    images = real.clone().requires_grad_()
    scores = judge(images)
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    squared = gradient.square().sum((1, 2, 3))
    weighted = squared * (set.meta["r1_gamma"] / 2)
    out |= {f"{phase}/report/Loss_r1_penalty": squared, f"{phase}/report/Loss_D_reg": weighted}
    out |= {f"{phase}/loss_Dr1": weighted.mean()} | _signs(phase, "real", scores)
    gradients("Dreg", "D", weighted.mean(), parameters, _parameter)


def _signs(phase: str, which: str, scores: Tensor) -> dict[str, Tensor]:
    return {
        f"{phase}/report/Loss_scores_{which}": scores,
        f"{phase}/report/Loss_signs_{which}": scores.sign(),
    }
