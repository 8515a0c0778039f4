"""Suites on ImageNet's 1,000 classes: validation set, its corrupted copies, other images, subsets of the classes."""
