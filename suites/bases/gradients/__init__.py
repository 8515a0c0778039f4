"""What the suites of gradient alignment share: targets, measures, tables."""
