"""Radiance fields fitted to images: Scenes without a Generator. `published.py` is NeRF as in the paper."""
