"""Edits of generated objects: inversion of photographs, and edits by scribbles."""
