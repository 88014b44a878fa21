"""Layers that several generators use identically; anything used by one model alone lives in that model's file."""
