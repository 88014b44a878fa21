"""Fitting a field to images, whatever the field: rays, loss, scene bounds, background colour, saved state."""
