"""A classifier: found, opened, built, called."""
