"""Ranks of a board's rows that the data support, and rows of several training seeds."""
