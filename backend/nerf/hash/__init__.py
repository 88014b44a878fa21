"""The hash-grid radiance field (after arxiv.org/abs/2201.05989)."""
