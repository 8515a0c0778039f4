"""Distribution of the parts of a run among processes."""
