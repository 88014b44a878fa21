"""Training of HoloGAN: config, data, train, export, evaluate."""
