"""The benchmarks; bases/ has what they share.

Imported as ``harness.suites`` only: a second name would make a second copy of every plugin.
"""

if __name__ != "harness.suites":
    raise ImportError(f"import harness.suites, not {__name__}: the plugins exist once, under that name.")
