"""The mathematics of volume rendering: where to sample along a ray, and how samples become a pixel."""
