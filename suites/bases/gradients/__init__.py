"""Gradient alignment: targets, measures and tables that its suites share."""
