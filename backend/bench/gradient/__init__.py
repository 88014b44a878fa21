"""A model whose image costs nothing to render, for the transport benchmark."""
