import math
from torch import Tensor
from torch.nn import functional

AZIMUTH = (-math.pi / 2, math.pi / 2)
ELEVATION = (0.0, 2 * math.pi / 9)
DISTANCE_THRESHOLD = 0.9


def from_distances(voxels: Tensor, threshold: float = DISTANCE_THRESHOLD) -> Tensor:
    return functional.threshold(voxels, threshold, 0.0).transpose(-2, -1).flip(-2)
