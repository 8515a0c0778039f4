"""Results of a run on disk: parts, sample tables and records."""
