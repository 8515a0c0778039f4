"""Who works on the parts of a run."""
