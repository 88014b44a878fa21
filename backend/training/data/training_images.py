"""The images that an adversarial training learns from, with their cameras where they are known."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from addon.wire.messages import PosePrior

from ...scenes.viewpoint import azimuth_and_elevation


@dataclass(frozen=True)
class TrainingImages:
    """Square images of one class of objects, in a world that is centred on the object: Z up, the front towards −Y, the
    object inside the unit sphere."""

    images: Tensor  # [n, 3, side, side] uint8, sRGB, over the background
    prior: PosePrior  # range of the cameras; its radius in units of this world, the fov vertical, radians
    world_from_camera: Tensor | None = None  # [n, 4, 4] float32, OpenCV axes; None: without poses
    intrinsics: Tensor | None = None  # [n, 3, 3] float32, in units of the image side
    objects: Tensor | None = None  # [n] int64: which object an image shows, where that is known
    alpha: Tensor | None = None  # [n, 1, side, side] uint8, opacity; None: no image has it
    background: str = "white"  # or black, or #rrggbb: what is around the object in all images
    metres_per_unit: float = 1.0
    licence: str = ""  # of the images, for the card of what is trained on them
    name: str = ""  # of the class, such as "Chairs"
    report: object = ""  # whose text says what was used and what was left out

    def angles(self) -> Tensor:
        """Return azimuth and elevation [n, 2] of the cameras, radians; azimuth 0 sees the front.

        Raises ValueError without poses.
        """
        if self.world_from_camera is None:
            raise ValueError("the images have no poses")
        return azimuth_and_elevation(self.world_from_camera[:, :3, 3])
