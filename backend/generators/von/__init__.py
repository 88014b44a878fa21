"""Visual Object Networks: shape, viewpoint and texture apart (arxiv.org/abs/1812.02725)."""
