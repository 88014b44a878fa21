"""Models on disk: `store` reads and writes our own folders, `unpickle` and `convert` bring in foreign checkpoints."""
