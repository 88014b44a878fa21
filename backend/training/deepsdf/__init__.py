"""Training of DeepSDF: config, train, export, evaluate."""
