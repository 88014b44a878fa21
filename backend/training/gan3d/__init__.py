"""Training of 3D-GAN and of its image encoder (3D-VAE-GAN): config, data, train, image_to_shape, export, evaluate."""
