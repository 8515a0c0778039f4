"""Figures by name, from records and networks to files."""
