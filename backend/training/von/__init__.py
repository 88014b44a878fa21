"""Training of Visual Object Networks: config, data, shapes, train (texture), export, evaluate."""
