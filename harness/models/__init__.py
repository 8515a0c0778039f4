"""Classifiers: locate, open, build and call them."""
