"""Experiments that measure a claim of a paper and draw its figure. Each is a module with `main(arguments)`."""
