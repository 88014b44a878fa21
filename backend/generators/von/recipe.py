"""Adversarial training of Visual Object Networks."""

from __future__ import annotations

TRAININGS = {"von": "backend.training.von.train"}
"""Name in `python -m backend train NAME` → module with its `RECIPE`."""
