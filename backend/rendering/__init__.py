"""Volume rendering: sampling along rays, compositing, colour spaces, and a fast ray marcher."""
