"""GRAF (arxiv.org/abs/2007.02442)."""
