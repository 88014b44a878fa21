"""Judging of generators of images: feature distances, poses, view consistency, diversity, copies and shapes."""
