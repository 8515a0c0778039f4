"""Figures of papers: one short file per figure. What needs torch imports it when it draws."""
