"""Metrics of the features of classifiers: what they separate, how they spread, and how sparse codes rebuild them."""
