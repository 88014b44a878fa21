"""π-GAN (arxiv.org/abs/2012.00926)."""
