"""Metrics of gradients of class probabilities: their directions, frequencies, and means with intervals."""
