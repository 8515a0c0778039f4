"""Files of weights that others wrote: told apart, bounded, and read without running code."""
