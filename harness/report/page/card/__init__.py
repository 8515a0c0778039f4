"""The model's card: everything on one classifier, as parts of a page."""
