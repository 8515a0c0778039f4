"""Images derived from a batch: computed once, differentiated, counted."""
