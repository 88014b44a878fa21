"""3D-GAN: voxels from a latent by transposed 3D convolutions (arxiv.org/abs/1610.07584)."""
