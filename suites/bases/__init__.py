"""Base classes of the suites: what kinds of benchmark have in common. Bases import no benchmark."""
