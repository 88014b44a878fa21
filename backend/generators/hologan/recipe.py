"""Adversarial training of HoloGAN."""

from __future__ import annotations

TRAININGS = {"hologan": "backend.training.hologan.train"}
"""Name in `python -m backend train NAME` → module with its `RECIPE`."""
