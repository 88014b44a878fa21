"""royorel/StyleSDF: training: both discriminators, every loss, and the gradients of one step of each stage."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.checkpoints.convert import replaced
from backend.generators.stylesdf.checkpoint import RENAMED, config_from_official, network_from_official
from backend.generators.stylesdf.discriminator import (
    discriminator_from_official,
    image_name,
    volume_discriminator_from_official,
    volume_name,
)
from backend.generators.stylesdf.model import Rendering, StyleSDF, official_rays
from backend.rendering import sampling
from backend.training.stylesdf import losses
from tests.parity.oracle import OracleSet, read_set


def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Every recorded output."""
    out = {f"loss_only/{name}": value for name, value in _losses(set).items()}
    out |= {f"stage1/{name}": value for name, value in _stage1(set).items()}
    out |= {f"sphere_init/{name}": value for name, value in _sphere(set).items()}
    out |= {f"stage2/{name}": value for name, value in _stage2(set).items()}
    out |= {f"path/{name}": value for name, value in _path(set).items()}
    return {name: value.detach() for name, value in out.items() if name in set.expected}


def _generator(set: OracleSet) -> StyleSDF:
    """The network that the set names, with gradients."""
    name = str(set.meta["generator"]).split()[0].rstrip(",")
    other = read_set(set.path.parent.parent / name).to(set.inputs["z"].dtype)
    config = config_from_official(other.weights, other.meta["model_opt"], set.meta["rendering_opt"])
    return network_from_official(config, other.weights).requires_grad_(True)


def _rendered(set: OracleSet, network: StyleSDF, ws: Tensor, jitter: Tensor, batch: int) -> Rendering:
    """The renderer's image of the set's first cameras, one jitter a ray [batch, size, size]; points carry gradients."""
    inputs = {name: set.inputs[name][:batch] for name in ("cam", "focal", "near", "far")}
    rays = official_rays(inputs["cam"], jitter.shape[1], inputs["focal"])
    along = F.normalize(rays.in_camera if network.config.static_directions else rays.directions, dim=-1)
    origins = rays.origins.clone().requires_grad_(True)
    moved = jitter.flatten(1)[..., None]
    return network.renderer.render(ws, origins, rays.directions, along, inputs["near"], inputs["far"], jitter=moved)


def _square(values: Tensor, size: int) -> Tensor:
    """Rays [batch, size², …] row by row as [batch, size, size, …]."""
    return values.unflatten(1, (size, size))


def _gradients(
    set: OracleSet, prefix: str, network: nn.Module, loss: Tensor, renamed: Callable[[str], str]
) -> dict[str, Tensor]:
    """The gradients that the set has under a prefix, of a loss by the parameters of a network."""
    wanted = {name: renamed(name.removeprefix(prefix)) for name in set.expected if name.startswith(prefix)}
    parameters = dict(network.named_parameters())
    found = torch.autograd.grad(loss, [parameters[ours] for ours in wanted.values()], retain_graph=True)
    return {
        name.split("/", 1)[1]: gradient.reshape(set.expected[name].shape)
        for name, gradient in zip(wanted, found, strict=True)
    }


def _generator_name(official: str) -> str:
    return replaced(official, patterns=RENAMED)


def _stage1(set: OracleSet) -> dict[str, Tensor]:
    inputs, weight = set.inputs, set.meta["defaults"]
    network, discriminator = _generator(set), volume_discriminator_from_official(set.weights_under("Dv/"))
    size = inputs["real_thumb"].shape[-1]
    image = _rendered(set, network, network.mapping(inputs["z"]), inputs["stage1/draw0_rand"], len(inputs["z"]))
    gradient = losses.distance_gradient(image.value, image.points)
    thumb = _square(image.rgb, size).permute(0, 3, 1, 2) * 2 - 1
    out = {"thumb": thumb, "sdf": _square(image.value, size)[..., None], "eikonal_term": _square(gradient, size)}

    score, view = discriminator(thumb)
    out |= {"fake_pred": score, "fake_viewpoint": view, "g_gan": F.softplus(-score).mean()}
    out["view_loss_unweighted"] = losses.view_loss(view, inputs["viewpoints"])
    out["eikonal"] = losses.eikonal(gradient)
    out["minimal_surface"] = losses.minimal_surface(image.value, weight["min_surf_beta"])
    out["g_loss"] = (
        out["g_gan"]
        + weight["view_lambda"] * out["view_loss_unweighted"]
        + weight["eikonal_lambda"] * out["eikonal"]
        + weight["min_surf_lambda"] * out["minimal_surface"]
    )
    out |= _gradients(set, "stage1/grad_G/", network, out["g_loss"], _generator_name)

    real = inputs["real_thumb"].clone().requires_grad_(True)
    out["real_pred"], out["real_viewpoint"] = discriminator(real)
    score, view = discriminator(thumb.detach())
    out["d_gan"] = F.softplus(score).mean() + F.softplus(-out["real_pred"]).mean()
    out["r1_penalty"] = _r1(out["real_pred"], real)
    out["d_total"] = (
        out["d_gan"]
        + weight["r1"] / 2 * out["r1_penalty"]
        + weight["view_lambda"] * losses.view_loss(view, inputs["viewpoints"])
    )
    return out | _gradients(set, "stage1/grad_D/", discriminator, out["d_total"], volume_name)


def _r1(scores: Tensor, images: Tensor) -> Tensor:
    """R1 (arxiv.org/abs/1801.04406): the mean squared norm of the scores' gradients."""
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def _sphere(set: OracleSet) -> dict[str, Tensor]:
    inputs, network = set.inputs, _generator(set)
    jitter, near, far = inputs["sphere_init/draw0_rand"], inputs["near"], inputs["far"]
    rays = official_rays(inputs["cam"], jitter.shape[1], inputs["focal"])
    edges = sampling.even(near, far, jitter.shape[-1], include_far=not network.config.left_edges)
    t = sampling.stratified(edges.expand(*rays.origins.shape[:2], -1), jitter.flatten(1, 2))
    points = rays.origins[:, :, None] + rays.directions[:, :, None] * t[..., None]
    scaled = points * 2 / (far - near)[..., None] if network.config.normalize_points else points
    x = network.renderer.features(network.mapping(inputs["z"]), scaled.flatten(1, 2))
    out = {
        "sdf": network.renderer.distance(x).unflatten(1, points.shape[1:3])[..., 0],
        "target": losses.sphere_distance(points, (far - near) / 4),
    }
    out = {name: _square(value, jitter.shape[1]) for name, value in out.items()}
    return out | {"l1": F.l1_loss(out["sdf"], out["target"])}


def _decoded(set: OracleSet, network: StyleSDF, ws: Tensor, rows: Tensor, jitter: Tensor) -> Tensor:
    """The decoder's image, under its `rows` of ws, of the renderer's features, which carry no gradients."""
    features = _rendered(set, network, ws, jitter, len(ws)).features.detach()
    return network.decoder(_square(features, jitter.shape[1]).permute(0, 3, 1, 2), rows)


def _decoder_rows(network: StyleSDF, ws: Tensor) -> Tensor:
    return ws[:, network.config.num_renderer_ws :, : network.config.decoder_style_dim]


def _stage2(set: OracleSet) -> dict[str, Tensor]:
    inputs, weight = set.inputs, set.meta["defaults"]
    network, discriminator = _generator(set), discriminator_from_official(set.weights_under("Df/"))
    network.mapping_network.requires_grad_(False)
    network.renderer.requires_grad_(False)
    ws = network.mapping(inputs["z"])
    image = _decoded(set, network, ws, _decoder_rows(network, ws), inputs["stage2/draw0_rand"])
    out = {"image": image, "fake_pred": discriminator(image)}
    out["g_loss"] = F.softplus(-out["fake_pred"]).mean()
    out |= _gradients(set, "stage2/grad_G/", network, out["g_loss"], _generator_name)

    real = inputs["real_full"].clone().requires_grad_(True)
    out["real_pred"] = discriminator(real)
    out["d_gan"] = F.softplus(discriminator(image.detach())).mean() + F.softplus(-out["real_pred"]).mean()
    out["r1_penalty"] = _r1(out["real_pred"], real)
    out["r1_weighted_lazy16"] = weight["r1"] / 2 * out["r1_penalty"] * weight["d_reg_every"]
    total = out["d_gan"] + out["r1_weighted_lazy16"]
    return out | _gradients(set, "stage2/grad_D/", discriminator, total, image_name)


def _path(set: OracleSet) -> dict[str, Tensor]:
    inputs, network = set.inputs, _generator(set)
    jitter = inputs["path/draw0_rand"]
    ws = network.mapping(inputs["z"][: len(jitter)])
    rows = _decoder_rows(network, ws)
    image = _decoded(set, network, ws, rows, jitter)
    lengths = losses.path_lengths(image, rows, inputs["path/draw1_randn_like"])
    penalty, mean = losses.path_penalty(lengths, lengths.new_tensor(0.3))
    return {"penalty": penalty, "mean_after": mean, "lengths": lengths, "latents": rows}


def _losses(set: OracleSet) -> dict[str, Tensor]:
    inputs, weight = set.inputs, set.meta["defaults"]
    return {
        "eikonal": losses.eikonal(inputs["loss_only/eikonal_term"]),
        "minimal_surface": losses.minimal_surface(inputs["loss_only/sdf"], weight["min_surf_beta"]),
    }
