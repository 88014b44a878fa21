"""Training sets: renders of many objects of one class from random viewpoints, to train a generator on."""
