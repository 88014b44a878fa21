"""The preview image, the live updates and the model's own camera."""
