"""Scores of how much an image looks like the training data: one short file per detector; higher is in-distribution."""
