"""Training of EG3D: config, rendering, discriminator, train."""
