"""Evaluation from Python, which is also how the command line runs it."""
