"""From an image: shape, texture, depth completion, and a field fitted to rendered views."""
