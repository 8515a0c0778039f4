"""Metrics of generated images: pure functions of their features and logits, beside those of reference images."""
