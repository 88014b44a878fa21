"""The decoder of DeepSDF as one operation: signed distances of many points under few codes.

Vocabulary: `points` [..., num_points, 3] and `codes` [..., latent_size] share their leading dimensions, one code for
each cloud of points. `MlpWeights` holds the *effective* matrices (weight normalisation already multiplied out), in the
official column order: the first layer reads [code, point], a skip layer [hidden, code, point], and with `xyz_in_all`
every other hidden layer [hidden, point].

Engines, all with the same signature and layout:

- `reference` (reference.py): the definition. Writes the code beside every point, as the paper's Fig. 3 draws it.
- `folded` (folded.py): a code meets every point of its cloud with the same matrix columns, so its product is computed
  once and joins the bias. Without gradients it also walks the points in chunks that stay in the cache. Any device.
"""

import logging
from typing import Literal

from torch import Tensor

from .folded import sdf_mlp_folded
from .reference import sdf_mlp_reference
from .weights import Layer, MlpWeights

__all__ = ["Impl", "Layer", "MlpWeights", "sdf_mlp"]

log = logging.getLogger(__name__)

Impl = Literal["auto", "reference", "folded"]
_ENGINES = {"reference": sdf_mlp_reference, "folded": sdf_mlp_folded}
_logged = False


def sdf_mlp(
    points: Tensor,  # [..., num_points, 3]
    codes: Tensor,  # [..., latent_size]
    weights: MlpWeights,
    *,
    impl: Impl = "auto",
) -> Tensor:
    """Evaluate the decoder (Sec. 4 of arxiv.org/abs/1901.05103). Differentiable in all three. [..., num_points]

    Raises:
        ValueError: a shape does not fit, or there is no engine named `impl`.
    """
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ValueError(f"points must be [..., num_points, 3], got {list(points.shape)}")
    if codes.shape != (*points.shape[:-2], weights.latent_size):
        wanted = [*points.shape[:-2], weights.latent_size]
        raise ValueError(f"codes must be {wanted} for points {list(points.shape)}, got {list(codes.shape)}")
    if impl == "auto":
        impl = "folded"
        _log_choice(points)
    elif impl not in _ENGINES:
        raise ValueError(f"no engine {impl!r}; there are {', '.join(_ENGINES)}")
    return _ENGINES[impl](points, codes, weights)


def _log_choice(points: Tensor) -> None:
    global _logged
    if not _logged:
        log.info("sdf_mlp: folded on %s (same result as reference, fewer multiplications on any device)", points.device)
        _logged = True
