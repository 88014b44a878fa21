"""HoloGAN: a rotated feature volume, rendered by a learnt projection (arxiv.org/abs/1904.01326)."""
