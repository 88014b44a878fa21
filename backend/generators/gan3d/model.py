"""3D-GAN (Wu et al., arxiv.org/abs/1610.07584): a latent becomes a cube of occupancy probabilities.

Vocabulary: `voxels` [..., side, side, side] in 0..1; `side` is 4·2^(number of doublings), 32 or 64 in practice;
`channels` is the width of the last hidden layer, doubling towards the latent. The *cube* is centred at the world's
origin.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from addon.wire.messages import ModelInfo, PosePrior

from ..layers.placement import cube, pose_prior
from .voxel_scene import VoxelScene

if TYPE_CHECKING:
    from ...checkpoints.store import ModelCard


class Generator(nn.Module):
    """z to voxels (Fig. 1 of the paper): a 4³ cube, doubled until it has the side wanted."""

    def __init__(self, z_dim: int = 200, channels: int = 64, side: int = 64) -> None:
        super().__init__()
        widths = _widths(channels, side)
        self.z_dim = z_dim
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose3d(before, after, 4, stride=2, padding=0 if i == 0 else 1, bias=False),
                nn.BatchNorm3d(after),
                nn.ReLU(),
            )
            for i, (before, after) in enumerate(zip([z_dim, *widths], widths))
        )
        self.output = nn.ConvTranspose3d(widths[-1], 1, 4, stride=2, padding=1, bias=False)
        with torch.no_grad():  # without a bias, this is how the cube starts out nearly empty, as shapes leave it
            self.output.weight -= 1.2 / widths[-1]

    def features(self, z: Tensor) -> list[Tensor]:
        """Return what each hidden layer makes of z [N, z_dim]: [N, width, side, side, side] from 4³ on."""
        h, found = z[..., None, None, None], []
        for layer in self.layers:
            h = layer(h)
            found.append(h)
        return found

    def logits(self, z: Tensor) -> Tensor:
        """Return what the sigmoid is taken of, [N, side, side, side]."""
        last: Tensor = self.output(self.features(z)[-1])
        return last.squeeze(1)

    def forward(self, z: Tensor) -> Tensor:
        """Return occupancy probabilities [N, side, side, side] of z [N, z_dim], drawn uniformly from [0, 1]."""
        return torch.sigmoid(self.logits(z))


class Discriminator(nn.Module):
    """Voxels to the probability that they are real: the generator mirrored, with LeakyReLU 0.2 (Sec. 3.2).

    normalise="spectral": weights of largest singular value 1 (Miyato et al., arxiv.org/abs/1802.05957) in place of the
    paper's batch normalisation, for training with few shapes; the last layer then gives a score without bounds.
    """

    def __init__(self, channels: int = 64, side: int = 64, normalise: Literal["batch", "spectral"] = "batch") -> None:
        super().__init__()
        widths = _widths(channels, side)[::-1]
        batch = normalise == "batch"

        def layer(before: int, after: int) -> nn.Sequential:
            convolution = nn.Conv3d(before, after, 4, stride=2, padding=1, bias=not batch)
            if batch:
                return nn.Sequential(convolution, nn.BatchNorm3d(after), nn.LeakyReLU(0.2))
            return nn.Sequential(spectral_norm(convolution), nn.LeakyReLU(0.2))

        self.layers = nn.ModuleList(layer(before, after) for before, after in zip([1, *widths], widths))
        output = nn.Conv3d(widths[-1], 1, 4, bias=False)
        self.output = output if batch else spectral_norm(output)

    def score(self, voxels: Tensor) -> Tensor:
        """Return what the last layer says of voxels [N, side, side, side]: above 0 for real ones. [N, 1]"""
        h = voxels[:, None]
        for layer in self.layers:
            h = layer(h)
        verdict: Tensor = self.output(h).flatten(1)
        return verdict

    def forward(self, voxels: Tensor) -> Tensor:
        """Return [N, 1] in 0..1 of voxels [N, side, side, side]."""
        return torch.sigmoid(self.score(voxels))


class ImageEncoder(nn.Module):
    """A picture to the latents of the shapes it may show (Sec. 3.3): five convolutions, the last over what is left.

    The paper's pictures are 256² and its kernels 11, 5, 5, 5, 8; ours are 64² and the kernels 5, 5, 5, 5, 4.
    """

    def __init__(self, z_dim: int = 200, channels: int = 64, size: int = 64) -> None:
        super().__init__()
        if size % 16:
            raise ValueError(f"size must be a multiple of 16, got {size}")
        widths = [3, channels, 2 * channels, 4 * channels, 8 * channels]
        self.size, self.channels = size, channels
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(after), nn.ReLU()
            )
            for before, after in pairwise(widths)
        )
        self.output = nn.Conv2d(widths[-1], 2 * z_dim, size // 16)
        with torch.no_grad():  # a cloud that is wide at the start drowns what the mean says
            self.output.weight[z_dim:] *= 0.1
            self.output.bias[z_dim:] = -4.0  # type: ignore[index]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, both [N, z_dim], of pictures [N, 3, size, size], 0..1."""
        h = 2 * images - 1
        for layer in self.layers:
            h = layer(h)
        mean, log_variance = self.output(h).flatten(1).chunk(2, dim=-1)
        return mean, log_variance.clamp(-10, 2)


def _widths(channels: int, side: int) -> list[int]:
    """Channels of the hidden layers, from the 4³ cube on."""
    doublings = side.bit_length() - 3  # 4 -> 0, 32 -> 3, 64 -> 4
    if side < 8 or 4 << doublings != side:
        raise ValueError(f"side must be 4 times a power of two and at least 8, got {side}")
    return [channels << i for i in reversed(range(doublings))]


def draw_latents(prior: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Latents of a shape: "uniform" in 0..1 as the paper draws them, or "normal"."""
    if prior == "uniform":
        return torch.rand(shape, generator=random)
    return torch.randn(shape, generator=random)


def mirrored(values: Tensor) -> Tensor:
    """The mean of values [..., D, H, W] and their mirror image in x, which goes along W."""
    return (values + values.flip(-1)) / 2


WORLD_FROM_GRID = {
    "zyx": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "xyz": ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
}
"""How voxels are indexed → the world's x, y, z along W, H, D. The second only changes the order of indices: it mirrors
nothing."""


DRAW_SHARE = 0.1
"""How much of a new latent is the draw itself, where training codes are kept; the rest is codes."""


class GAN3D(nn.Module):
    """The generator, and with it where pictures are understood the encoder of the 3D-VAE-GAN. A `Generator`.

    ws is z itself, one row. There is no truncation: the middle of the prior is no mean shape, and near it chairs fall
    apart.

    A generator that few shapes or little time taught knows what lies near its training codes better than the rest of
    the prior. A model that keeps those codes draws near them, as DeepSDF here does: z is pulled most of the way to the
    middle between the code nearest to it and that code's partner.
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
        prior: what z is drawn from in training, U[0, 1] or N(0, 1).
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
        """From the prior of training, the same for a seed on every device. [1, z_dim]"""
        return draw_latents(self.prior, (1, self.z_dim), torch.Generator().manual_seed(seed)).to(self.device)

    def mapping(self, z: Tensor, condition: object = None, *, truncation_psi: float = 1.0) -> Tensor:
        """z [..., z_dim], near training codes where there are any. truncation_psi has no part in it. [..., 1, z_dim]"""
        drawn = torch.nonzero(self.partners >= 0)[:, 0]
        if len(drawn):
            chosen = drawn[torch.cdist(z.reshape(-1, self.z_dim), self.codes[drawn]).argmin(-1)]
            between = (self.codes[chosen] + self.codes[self.partners[chosen]]) / 2
            z = torch.lerp(between.reshape(z.shape), z, DRAW_SHARE)
        return z[..., None, :]

    def voxels(self, ws: Tensor) -> Tensor:
        """Occupancy [N, side, side, side] of ws [N, 1, z_dim]."""
        logits = self.generator.logits(ws[:, 0].to(self.device))
        return torch.sigmoid(mirrored(logits) if self.mirror else logits)

    def synthesize(self, ws: Tensor, controls: dict[str, float] | None = None) -> VoxelScene:
        """The shape of one ws [1, z_dim]."""
        if ws.shape != (1, self.z_dim):
            raise ValueError(f"ws must be [1, {self.z_dim}], got {list(ws.shape)}")
        return VoxelScene(self.voxels(ws[None])[0], self._world_from_grid.to(self.device))

    def encode(self, pictures: Tensor) -> Tensor:
        """ws [N, 1, z_dim] of the shapes most likely seen in pictures [N, 3, size, size], 0..1, over white.

        Raises:
            ValueError: there is no encoder, or pictures have another size.
        """
        if self.encoder is None:
            raise ValueError("this 3D-GAN has no image encoder")
        size = self.encoder.size
        if pictures.shape[1:] != (3, size, size):
            raise ValueError(f"pictures must be [N, 3, {size}, {size}], got {list(pictures.shape)}")
        mean, _ = self.encoder(pictures.to(self.device))
        return mean[:, None]


def load(name: str, card: ModelCard, tensors: dict[str, Tensor]) -> GAN3D:
    """The generator of a model folder. Raises KeyError, ValueError, TypeError or RuntimeError if it does not fit.

    Weights may be stored in half precision; they are computed with in single.
    """
    model = GAN3D(**card.constructor, metres_per_unit=card.metres_per_unit)
    model.load_state_dict(tensors)
    model._info = model_info(name, card, model)
    return model.to(next(iter(tensors.values())).device)


def model_info(name: str, card: ModelCard, model: GAN3D) -> ModelInfo:
    """What the panel shows of a model with this card."""
    prior = PosePrior(
        radius=3.5 * model.half_edge, fov=0.6, elevation=(-0.3, 1.2), default_azimuth=0.6, default_elevation=0.35
    )
    return ModelInfo(
        name=name,
        **card.told,
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
    """What `load` needs to build a trained model again, as plain JSON; goes into the card. others: as in `GAN3D`."""
    arguments = {"z_dim": generator.z_dim, "channels": generator.output.weight.shape[0], "side": side, **others}
    if encoder is not None:
        arguments |= {"encoder_channels": encoder.channels, "image_size": encoder.size}
    return arguments
