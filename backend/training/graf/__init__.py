"""Training of GRAF: config, patches, train."""
