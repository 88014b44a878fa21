"""The interfaces of all models, Scene and Generator, and the scenes made of other scenes."""
