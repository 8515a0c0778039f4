"""What a run leaves: parts, sample tables and records."""
