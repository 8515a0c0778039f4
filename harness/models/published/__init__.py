"""Weights as their authors publish them: the list, the places, the download."""
