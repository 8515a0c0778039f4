"""Analyses of features: from networks and images to a record."""
