"""Judgement of generated images."""
