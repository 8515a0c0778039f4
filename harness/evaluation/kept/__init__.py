"""What a run keeps beside its rows."""
