"""Weights that ship with the package, each with a card that says how it was made."""
