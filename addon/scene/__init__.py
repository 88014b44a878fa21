"""Data between Blender's scene and the wire: requests from the scene, results into it, image files."""
