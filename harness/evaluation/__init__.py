"""From a specification to records."""
