"""Plugins: models, architectures, datasets, methods, denoisers.

Imported as ``harness.registry`` only: a second name would make a second copy of every plugin.
"""

if __name__ != "harness.registry":
    raise ImportError(f"import harness.registry, not {__name__}: the plugins exist once, under that name.")
