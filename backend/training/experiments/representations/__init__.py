"""Memory, time and surface error of four representations of one shape."""
