"""Galleries: pictures of a few test images, as classifiers see them, and what these say."""
