"""Training data: which samples a pass sees, and reading and augmenting them."""
