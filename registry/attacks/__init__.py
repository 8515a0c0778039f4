"""Adversarial attacks: one short file per attack."""
