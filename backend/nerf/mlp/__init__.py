"""Vanilla NeRF: positional encoding, a coarse and a fine network (arxiv.org/abs/2003.08934)."""
