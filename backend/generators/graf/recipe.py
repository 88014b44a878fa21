"""Training of GRAF."""

TRAININGS = {"graf": "backend.training.graf.train"}
"""Name in `python -m backend train NAME` → module with its RECIPE."""
