"""Charts that are computed from sample tables."""
