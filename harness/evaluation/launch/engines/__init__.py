"""Engines that start the processes of a run: they are trusted with no result."""
