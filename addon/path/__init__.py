"""Camera paths: an animation rendered frame by frame."""
