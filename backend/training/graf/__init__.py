"""Training of GRAF."""
