"""Augmentation of training images: while training, and as copies on disk."""
