"""Records on their way to others: verified, merged, pushed, pulled, exported."""
