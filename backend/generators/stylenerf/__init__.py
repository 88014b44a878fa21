"""StyleNeRF (arxiv.org/abs/2110.08985)."""
