"""Experiments that measure a claim of a paper and draw its figure. Each is a module with `main(arguments)`."""

EXPERIMENTS = {
    "image-memorisation": "image_memorisation",
    "pose-refinement": "pose_refinement",
    "positional-encoding": "positional_encoding",
    "representations": "representations.comparison",
}
"""Name in `python -m backend train NAME` → module here. `solid_object` is a recipe of π-GAN and GRAF."""
