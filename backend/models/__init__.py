"""Models on disk: their cards, their files, and the generator that they make."""
