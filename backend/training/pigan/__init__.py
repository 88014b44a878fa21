"""Training of π-GAN: config, train."""
