"""Adversarial robustness: the attacks of a row on the images that those before left correct, and its metrics."""
