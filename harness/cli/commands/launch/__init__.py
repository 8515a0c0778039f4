"""Commands and options for runs of several processes."""
