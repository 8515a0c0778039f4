"""Texts and numbers for LaTeX: every text is escaped, and compiles under pdflatex without further packages."""

from __future__ import annotations

import re

from harness.report.escape import printable

SIGNS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}", '"': "''", "[": "{[}", "]": "{]}",
    "●": r"$\bullet$",
    "≤": r"$\le$", "≥": r"$\ge$", "±": r"$\pm$", "×": r"$\times$", "σ": r"$\sigma$", "ε": r"$\epsilon$",
    "→": r"$\to$",
    **{sign: f"\\{sign}" for sign in "{}$&#%_"},
}  # fmt: skip
"""Characters with a meaning in LaTeX, or that the usual fonts lack. Brackets after a line break would be its length."""


def escaped(text: str) -> str:
    """A text as LaTeX shows it; characters beyond Latin ones, which most fonts lack, as ``U+4E2D``."""
    shown = "".join(
        SIGNS.get(c, c if c.isascii() or "\u00c0" <= c <= "\u017f" else f"U+{ord(c):04X}") for c in printable(text)
    )
    return shown.replace("--", "-{}-")  # which would be one dash


def comment(text: str) -> str:
    """A text that stays within one line of comment."""
    return "% " + ascii(printable(text))[1:-1]


DIGITS = ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"]


def name(*words: str) -> str:
    """Letters alone, as names of macros have: words in capitals, digits spelled, all else left out."""
    spelled = (re.sub(r"\d", lambda digit: f" {DIGITS[int(digit[0])]} ", re.sub("[^A-Za-z0-9]", " ", w)) for w in words)
    return "".join(part[:1].upper() + part[1:] for word in spelled for part in word.split())
