"""Training objectives: named loss terms, one concern a file."""
