"""3D-GAN as a Generator: latents, voxels placed in the world, the model's info, and loading."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from addon.wire.errors import NotSupported
from addon.wire.messages import ModelInfo, PosePrior

from ...models.card import ModelCard
from ...models.image_memory import MEBI, ImageMemory
from ...scenes.capabilities import EncodedImage
from ...scenes.generator import Part
from ...scenes.volume import cube, pose_prior
from ...scenes.voxels import VoxelScene
from ..layers.encoder_image import encoder_image
from ..layers.stylegan2 import check_shape
from .model import Generator, ImageEncoder, draw_latents, mirrored

IMAGE_MEMORY = ImageMemory(32 * MEBI)

WORLD_FROM_GRID = {
    "zyx": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "xyz": ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
}
"""The world's x, y, z along W, H, D, by the order of the indices of the voxels. No shape is mirrored."""

DRAW_SHARE = 0.1
"""Weight of the draw in a new latent, where training codes are kept; the rest is the codes'."""


class GAN3D(nn.Module):
    """The generator network, and the image encoder of the 3D-VAE-GAN if the model has one. A `Generator`.

    ws is z itself, one row. There is no truncation: the centre of the prior is not a mean shape, and near it chairs
    fall apart.

    A generator trained on few shapes or for a short time is better near its training codes than in the rest of the
    prior. A model that keeps those codes draws near them, as DeepSDF here does: z is moved most of the way to the
    midpoint between the code nearest to it and that code's partner.
    """

    codes: Tensor  # [num_codes, z_dim] of the training shapes
    partners: Tensor  # [num_codes] which code each is mixed with when it is drawn; -1: it is not drawn

    def __init__(
        self,
        z_dim: int = 200,
        channels: int = 64,
        side: int = 64,
        *,
        prior: Literal["uniform", "normal"] = "uniform",
        mirror: bool = False,
        axes: Literal["zyx", "xyz"] = "zyx",
        half_edge: float = 0.5,
        encoder_channels: int = 0,
        image_size: int = 64,
        num_codes: int = 0,
        metres_per_unit: float = 1.0,
        info: ModelInfo | None = None,
    ) -> None:
        """
        prior: distribution of z in training, U[0, 1] or N(0, 1).
        mirror: every shape is symmetric in x; the voxels are averaged with their mirror image.
        axes: how the voxels are indexed; z is up, the front is along -y.
        half_edge: of the cube, canonical units.
        encoder_channels: of the image encoder; 0 is none.
        num_codes: training codes that are kept, to draw near them; 0 draws from the prior.
        metres_per_unit: world metres in one canonical unit.
        """
        super().__init__()
        self.generator = Generator(z_dim, channels, side)
        self.encoder = ImageEncoder(z_dim, encoder_channels, image_size) if encoder_channels else None
        self.z_dim, self.side, self.prior, self.mirror = z_dim, side, prior, mirror
        self.half_edge = half_edge * metres_per_unit  # metres
        rotation = torch.tensor(WORLD_FROM_GRID[axes])
        self._world_from_grid = torch.eye(4)
        self._world_from_grid[:3, :3] = self.half_edge * rotation
        self.register_buffer("codes", torch.zeros(num_codes, z_dim))
        self.register_buffer("partners", torch.zeros(num_codes, dtype=torch.long))
        self._info = info
        self.eval().requires_grad_(False)

    @property
    def info(self) -> ModelInfo:
        """See Generator.info."""
        if self._info is None:
            raise ValueError("this 3D-GAN was built without a model card")
        return self._info

    @property
    def device(self) -> torch.device:
        """See Generator.device."""
        return self.generator.output.weight.device

    def sample_z(self, seed: int) -> Tensor:
        """Return z [1, z_dim] from the prior of training, the same for a seed on every device."""
        drawn = draw_latents(self.prior, (1, self.z_dim), torch.Generator().manual_seed(seed))
        return drawn.to(self.generator.output.weight)

    def mapping(self, z: Tensor, condition: object = None, *, truncation_psi: float = 1.0) -> Tensor:
        """Return ws [..., 1, z_dim]: z [..., z_dim], moved near training codes where there are any. truncation_psi is
        ignored."""
        drawn = torch.nonzero(self.partners >= 0)[:, 0]
        if len(drawn):
            chosen = drawn[torch.cdist(z.reshape(-1, self.z_dim), self.codes[drawn]).argmin(-1)]
            between = (self.codes[chosen] + self.codes[self.partners[chosen]]) / 2
            z = torch.lerp(between.reshape(z.shape), z, DRAW_SHARE)
        return z[..., None, :]

    def mean_ws(self) -> Tensor:
        """Return the mean of the training codes, or of the prior where none are kept. See Generator.mean_ws."""
        if len(self.codes):
            return self.codes.mean(0, keepdim=True)
        return torch.full_like(self.codes.new_empty(1, self.z_dim), 0.5 if self.prior == "uniform" else 0.0)

    def voxels(self, ws: Tensor) -> Tensor:
        """Return occupancy [N, side, side, side] of ws [N, 1, z_dim]."""
        logits = self.generator.logits(ws[:, 0].to(self.device))
        return torch.sigmoid(mirrored(logits) if self.mirror else logits)

    def synthesize(
        self, ws: Tensor, controls: dict[str, float] | None = None, *, differentiable: bool = False
    ) -> VoxelScene:
        """Return the shape of one ws [1, z_dim]. See Generator.synthesize."""
        check_shape("ws", ws, (1, self.z_dim))
        with torch.set_grad_enabled(differentiable):
            values = self.voxels(ws[None])[0]
        return VoxelScene(values, self._world_from_grid.to(values))

    def encode_image(self, pixels: NDArray[np.uint8]) -> EncodedImage:
        """See EncodesImages.encode_image."""
        if self.encoder is None:
            raise ValueError("this 3D-GAN has no image encoder")
        image = encoder_image(pixels, self.encoder.size)
        with torch.no_grad():
            ws = self.encode(image.pixels[None])[0]
        return EncodedImage(ws, image.pixels, image.notes)

    def parameters_for(self, part: Part) -> list[nn.Parameter]:
        """See Generator.parameters_for. All weights are geometry; late layers: the last two doublings."""
        if part == "appearance":
            raise NotSupported("3D-GAN makes shapes without colour: there is no appearance to edit.")
        if part == "late layers":
            return [*self.generator.layers[-1].parameters(), *self.generator.output.parameters()]
        return list(self.generator.parameters())

    def encode(self, images: Tensor) -> Tensor:
        """Return ws [N, 1, z_dim] of the most likely shapes in images [N, 3, size, size], 0..1, over white.

        Raises:
            ValueError: there is no encoder, or images have another size.
        """
        if self.encoder is None:
            raise ValueError("this 3D-GAN has no image encoder")
        size = self.encoder.size
        if images.shape[1:] != (3, size, size):
            raise ValueError(f"images must be [N, 3, {size}, {size}], got {list(images.shape)}")
        mean, _ = self.encoder(images.to(self.device))
        return mean[:, None]


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> GAN3D:
    """Return the generator of a model folder.

    Raises KeyError, ValueError, TypeError or RuntimeError where card and tensors do not belong together. Weights
    stored in half precision are used in single precision.
    """
    model = GAN3D(**card.constructor, metres_per_unit=card.metres_per_unit)
    model.load_state_dict(tensors)
    model._info = model_info(name, card, model)
    return model.to(next(iter(tensors.values())).device)


def model_info(name: str, card: ModelCard, model: GAN3D) -> ModelInfo:
    """Return the panel's description of a model with this card."""
    prior = PosePrior(
        radius=3.5 * model.half_edge, fov=0.6, elevation=(-0.3, 1.2), default_azimuth=0.6, default_elevation=0.35
    )
    return ModelInfo(
        name=name,
        **card.info_fields,
        z_dim=model.z_dim,
        num_ws=1,
        w_dim=model.z_dim,
        num_geometry_ws=1,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        has_truncation=False,
        has_surface=True,
        no_surface_reason="",
        has_color=False,
        quantity="density",
        iso_level=0.5,
        iso_range=(0.05, 0.95),
        bounds=cube(model.half_edge),
        pose_prior=pose_prior(card, prior),
        image_size=256,
        capabilities=() if model.encoder is None else ("image_to_shape",),
    )


def constructor_of(
    generator: Generator, side: int, encoder: ImageEncoder | None = None, **others: Any
) -> dict[str, Any]:
    """Return a trained model's arguments for `load`, as plain JSON for the card. others: as in `GAN3D`."""
    arguments = {"z_dim": generator.z_dim, "channels": generator.output.weight.shape[0], "side": side, **others}
    if encoder is not None:
        arguments |= {"encoder_channels": encoder.channels, "image_size": encoder.size}
    return arguments
