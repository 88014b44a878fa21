"""stevliu/editnerf, edits: the images before, the cache of a removal, losses and gradients of the first step, the loss
curve, the image after.

The first step is compared at the recorded fine depths. Weights after a run and cached features are sensitive to
rounding (tests/parity/oracle.py): of a run, the loss curve tells.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from backend.editing.editnerf import STEPS, Draws, Edit, EditedRays, Kind
from backend.generators.editnerf.checkpoint import rename, ws_of_styles
from backend.generators.editnerf.model import EditNeRF
from backend.generators.graf.model import official_rays
from tests.parity.oracle import OracleSet
from tests.parity.systems.editnerf import network


def parameter(model: EditNeRF, official: str) -> torch.nn.Parameter:
    """Return our parameter of an official name, such as network_fine.rgb_linear.weight."""
    of, _, name = official.partition(".")
    field = {"network_fine": model.fine, "network_fn": model.coarse}[of]
    assert field is not None
    return field.get_parameter(rename(name))


def outputs(set: OracleSet, model: EditNeRF | None = None) -> dict[str, Tensor]:
    """Everything recorded of the three edits, from the set's inputs and weights, or those of an imported model."""
    meta, inputs = set.meta, set.inputs
    original = model or network(set)
    ws = ws_of_styles(original.config, inputs["styles"])[meta["edited_style_row"]]
    side = meta["image_size"]
    rays = [x.unflatten(1, (side, side)) for x in official_rays(inputs["poses"][:, :3], side, side, meta["focal"])]
    found = {"before": torch.stack([_image(original, ws, *view) for view in zip(*rays, strict=True)])}
    for kind in STEPS:
        found |= _edit(set, copy.deepcopy(original), ws, kind, rays)
    return {name: value for name, value in found.items() if name in set.expected}


@torch.no_grad()
def _image(model: EditNeRF, ws: Tensor, origins: Tensor, directions: Tensor) -> Tensor:
    own = ws.expand(origins[..., 0].numel(), -1, -1)
    return model.render(own, origins.reshape(-1, 3), directions.reshape(-1, 3)).fine.rgb.reshape(origins.shape)


def _edit(set: OracleSet, model: EditNeRF, ws: Tensor, kind: Kind, rays: list[Tensor]) -> dict[str, Tensor]:
    inputs = {name.removeprefix(f"{kind}/"): value for name, value in set.inputs.items() if name.startswith(f"{kind}/")}
    views = []
    for view in range(len(rays[0])):
        row, column = inputs[f"coords_view{view}"].unbind(-1)
        edited = inputs["positive_masks"][view, row, column, 0]
        target = inputs["target_images"][view, row, column]
        views.append(EditedRays(rays[0][view, row, column], rays[1][view, row, column], target, edited))
    edit = Edit(model, ws, kind, views)
    order = inputs["view_per_step"]

    def choose(step: int) -> tuple[int, Tensor]:
        return int(order[step]), inputs[f"selected_step{step}"]

    def draw(step: int) -> Draws:
        return Draws(inputs.get(f"rand_step{step}_stratified"), inputs.get(f"rand_step{step}_importance_u"))

    out: dict[str, Tensor] = {}
    names = [str(name) for name in set.meta["edits"][kind]["changed"]]
    given = set.expected[f"{kind}/fine_depths_step0"]
    for p in edit.parameters:
        p.requires_grad_(True)
    first = edit.losses(*choose(0), draw(0), t_fine=given.to(ws.dtype))
    gradients = torch.autograd.grad(first.total, [parameter(model, name) for name in names])
    out |= {f"{kind}/grad_step0/{name}": value for name, value in zip(names, gradients, strict=True)}
    out[f"{kind}/rgb_step0"], out[f"{kind}/weights_step0"] = first.rendered.rgb, first.rendered.weights
    out[f"{kind}/fine_depths_step0"] = edit.losses(*choose(0), draw(0)).rendered.t
    curve = list(edit.run(len(order), choose, draw))
    out[f"{kind}/loss"] = torch.stack([losses.total.detach() for losses in curve])
    errors = [torch.stack([x.detach() for x in (y.fine, y.coarse) if x is not None]) for y in curve]
    out[f"{kind}/mse"] = torch.stack(errors).squeeze(-1)
    out |= {f"{kind}/after/{name}": parameter(model, name).detach() for name in names}
    out[f"{kind}/style_after"] = torch.cat((ws[0, : model.config.shape_dim], ws[1, : model.config.color_dim]))[None]
    out[f"{kind}/image_after_view0"] = _image(model, ws, rays[0][0], rays[1][0])
    if edit.caches:
        out[f"{kind}/cache_features_view0"] = edit.caches[0].shape_features
        out[f"{kind}/cache_weights_view0"] = edit.caches[0].coarse_weights
    return out
