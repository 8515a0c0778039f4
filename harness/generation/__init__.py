"""Guided generation: from a specification to images of classes on disk."""
