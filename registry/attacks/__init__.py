"""Adversarial attacks, combinations of `harness.attacks`: one short file per attack."""
