"""The commands of `harness`, one module each."""
