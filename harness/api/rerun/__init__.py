"""Repeat what made a record or a checkpoint, and compare."""
