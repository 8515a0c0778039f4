"""Machinery of the training loop: optimisers, processes, saved state, log and initial weights."""
