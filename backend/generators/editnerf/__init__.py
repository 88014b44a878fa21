"""EditNeRF (arxiv.org/abs/2105.06466)."""
