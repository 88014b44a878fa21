"""Training of ShadeGAN: config, train."""
