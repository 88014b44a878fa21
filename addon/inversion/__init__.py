"""Photo to latent: the latent of a generator that makes a photograph, and the view that sees it so."""
