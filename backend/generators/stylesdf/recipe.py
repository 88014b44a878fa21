"""Training of StyleSDF."""

from __future__ import annotations

TRAININGS = {"stylesdf": "backend.training.stylesdf.train"}
"""Name of an adversarial training → module with its `RECIPE`."""
