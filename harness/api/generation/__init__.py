"""Generation from Python, and behind the command line."""
