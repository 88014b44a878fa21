"""Training of generators on a user's own images."""
