"""Radiance fields fitted to images: Scenes without a Generator. `hash/` is the hash-grid field, `mlp/` vanilla NeRF."""
