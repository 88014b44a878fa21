"""Import of foreign checkpoints: `unpickle` and `tensorflow` read them, `isolated` in a child process, `convert`
recognises and converts them."""
