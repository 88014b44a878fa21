"""Radiance fields: capture, camera estimation, fit, crop."""
