"""EG3D (arxiv.org/abs/2112.07945)."""
