"""Training of ShadeGAN."""

from __future__ import annotations

TRAININGS = {"shadegan": "backend.training.shadegan.train"}
"""Name of an adversarial training → module with its `RECIPE`."""
