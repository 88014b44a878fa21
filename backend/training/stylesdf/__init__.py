"""Training of StyleSDF (arxiv.org/abs/2112.11427)."""
