"""The camera of an image is found from its neighbourhood."""

from __future__ import annotations

import math

import torch

from backend.editing.inversion.viewpoint import Viewpoint, improved
from backend.models.library import load_model
from backend.models.store import model_folder

SIDE = 64


def test_steps_come_to_the_camera_and_its_framing() -> None:
    generator = load_model(model_folder("eg3d_chairs"))
    with torch.no_grad():
        scene = generator.synthesize(generator.mapping(generator.sample_z(3))[0])

    def rendered(view: Viewpoint) -> torch.Tensor:
        return scene.trace(view.camera(generator.info, SIDE).rays()).over(1.0)

    for reframed, true in ((False, Viewpoint(0.6, 0.3)), (True, Viewpoint(0.6, 0.3, 0.12, -0.05, 0.04))):
        with torch.no_grad():
            wanted = rendered(true)
        view = Viewpoint(true.azimuth + math.radians(8), true.elevation - math.radians(5))
        for _ in range(18 if reframed else 10):
            view = improved(view, lambda at: rendered(at) - wanted, generator.info, reframed=reframed)  # noqa: B023
        assert abs(view.azimuth - true.azimuth) < math.radians(0.5)
        assert abs(view.elevation - true.elevation) < math.radians(0.5)
        assert abs(view.zoom - true.zoom) < 0.02


def test_a_viewpoint_stays_within_what_the_model_knows() -> None:
    info = load_model(model_folder("eg3d_chairs")).info
    view = Viewpoint(7.0, 1.5, 5.0, 1.0, -1.0).within(info)
    assert abs(view.azimuth - (7.0 - 2 * math.pi)) < 1e-6
    assert view.elevation == info.pose_prior.elevation[1]
    assert abs(view.zoom) < 1
    assert view.right == -view.down < 0.5
