"""The list of models: choose, describe, import."""
