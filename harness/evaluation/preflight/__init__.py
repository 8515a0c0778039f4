"""Checks before a run begins."""
