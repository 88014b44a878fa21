"""ShadeGAN (arxiv.org/abs/2110.15678)."""
