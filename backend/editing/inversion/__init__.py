"""Inversion of a generator: the latent, the camera and, if need be, the weights that render a photograph."""
