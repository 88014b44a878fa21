"""junyanz/VON: voxels; rotation, rays, sketch, crop, normalised depth; image; the code of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.generators.von import checkpoint
from backend.generators.von.model import over_white
from backend.generators.von.projection import (
    Optics,
    crop_boxes,
    cropped,
    depths,
    normalised_depth,
    project,
    ray_points,
    rotation,
)
from backend.generators.von.scene import AZIMUTH, DISTANCE_THRESHOLD, ELEVATION, from_distances
from tests.parity.oracle import OracleSet


@torch.no_grad()
def outputs(set: OracleSet) -> dict[str, Tensor]:
    """Every stage of the official call, from the set's weights and inputs."""
    inputs, render = set.inputs, set.meta["constructor"]["render"]
    shape = checkpoint.shape_network(set.weights_under("G_3D."))
    texture = checkpoint.texture_network(set.weights_under("G_AB."))
    found = {"voxels": shape(inputs["z_shape"].flatten(1))[:, None]}

    angles = inputs["angles_az_el"]
    view = torch.stack((angles[:, 0].clamp(*AZIMUTH), angles[:, 1].clamp(*ELEVATION)), -1)
    matrix = rotation(view)
    found["rotation_matrix"] = torch.cat((matrix, torch.zeros_like(matrix[..., :1])), -1)
    optics = Optics(
        distance=render["camera_distance"],
        half_width=render["w"] / render["fl"] / 2,
        samples_per_pixel=render["nsamples_factor"],
    )
    side = int(render["res"])
    voxels = inputs["voxels_for_render"][:, 0]
    found["render_grid_n0_s0"] = ray_points(optics, side, voxels)[:, :, 0].transpose(0, 1)
    found["depth_weight"] = depths(optics, side, voxels)
    if set.meta["use_df"]:
        voxels = from_distances(voxels, set.meta.get("df_th", DISTANCE_THRESHOLD))
    sketch = project(voxels, view, optics, side)
    found["sil_full"], found["depth_full"] = sketch.silhouette[:, None], sketch.depth[:, None]
    cut = cropped(sketch, crop_boxes(sketch.silhouette), optics.far, side)
    found["sil_crop"], found["depth_norm"] = cut.silhouette[:, None], normalised_depth(cut.depth)[:, None]

    found["texture_image"] = texture(inputs["texture_depth_in"], inputs["z_texture"])
    found["texture_masked"] = over_white(found["texture_image"], inputs["texture_mask_in"])
    official = set.weights_under("E.")
    if official:
        found["enc_mu"], found["enc_logvar"] = checkpoint.texture_encoder(official)(inputs["enc_image_small"])
    return {name: value for name, value in found.items() if name in set.expected}
