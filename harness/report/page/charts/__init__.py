"""Kinds of charts of the page, each chosen by the metrics and columns that records have."""
