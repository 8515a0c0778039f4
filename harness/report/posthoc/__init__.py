"""Results that need no network: ensembles, temperature scaling, prediction sets, effective robustness."""
