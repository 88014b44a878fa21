"""Training of EditNeRF: config, data, train."""
