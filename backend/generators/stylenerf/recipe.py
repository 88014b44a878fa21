"""Adversarial training of StyleNeRF."""

from __future__ import annotations

TRAININGS = {"stylenerf": "backend.training.stylenerf.train"}
"""Name in `python -m backend train NAME` → module with its `RECIPE`."""
