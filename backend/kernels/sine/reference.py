"""The definition: PyTorch's functions."""

import torch
from torch import Tensor


def sine_reference(x: Tensor, cosine: Tensor | None) -> None:
    """See `sine_`."""
    if cosine is not None:
        torch.cos(x, out=cosine)
    x.sin_()
