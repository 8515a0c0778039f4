"""Tables as files for other programs: CSV, JSON, LaTeX, HTML."""
