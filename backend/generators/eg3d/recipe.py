"""Training of EG3D."""

TRAININGS = {"eg3d": "backend.training.eg3d.train"}
"""Name in `python -m backend train NAME` → module with its RECIPE."""
