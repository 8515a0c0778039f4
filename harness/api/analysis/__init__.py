"""Analyses from Python, and behind the command line."""
