"""Training recipes: one folder a model, `experiments/` that measure a claim of a paper, `data/` that several share."""
