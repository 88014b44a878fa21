"""Structure from motion by COLMAP (pycolmap)."""
