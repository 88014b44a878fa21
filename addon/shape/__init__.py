"""A generator's shape: latents, mesh, scan completion, shape networks, export."""
