"""The card of a model folder that StyleSDF training writes."""

from __future__ import annotations

from dataclasses import asdict

from ...generators.stylesdf.model import StyleSDFConfig
from ...models.card import ModelCard
from ..adversarial.card import trained_card
from ..data.training_images import TrainingImages
from .config import StyleSDFTraining

CARD = """\
{name} as a signed distance field (StyleSDF, arxiv.org/abs/2112.11427): {layers} sine layers of width {width} modulated
by a code, volume rendered at {thumbnail}² with {samples} samples a ray{decoder}.

**Data.** {images:,} images, {poses}.

**Recipe.** `python -m backend train stylesdf`: loss "{loss}", batch {batch}, seed {seed}. The weights are their running
mean.
"""


def card(generator: StyleSDFConfig, data: TrainingImages, config: StyleSDFTraining) -> ModelCard:
    """Return the card of a network of this training. Distances of the model's frame are in units of the cameras'."""
    text = CARD.format(
        name=data.name or "Objects",
        layers=generator.num_layers,
        width=generator.style_dim,
        thumbnail=generator.thumbnail_size,
        samples=generator.num_samples,
        decoder=f", grown to {generator.image_size}² by a decoder" if generator.has_decoder else "",
        images=len(data.images),
        poses="with poses" if data.world_from_camera is not None else "without poses",
        loss=config.loss,
        batch=config.batch,
        seed=config.seed,
    )
    return trained_card(
        data, "stylesdf", "StyleSDF", "{what} as signed distance fields with colours", asdict(generator), text,
        data_units_per_unit=data.prior.radius,
    )  # fmt: skip
