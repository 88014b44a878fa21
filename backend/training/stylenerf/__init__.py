"""Training of StyleNeRF: config, losses, train."""
