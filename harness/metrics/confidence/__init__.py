"""Metrics of probabilities: smooth calibration, scores of whole vectors, prediction sets."""
