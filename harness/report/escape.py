"""Text from files, servers and networks, made safe to show: characters that steer a terminal or a page are escaped."""

from __future__ import annotations

import re
import unicodedata

STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control and format characters, lone surrogates, and separators of lines and paragraphs."""

MARKUP = [
    (r"\\", r"\\\\"),
    (r"\|", r"\\|"),
    (r"&(?=[#\w])", "&amp;"),
    (r"<(?=[A-Za-z/!?])", "&lt;"),
    (r"(?<=\S)>", "&gt;"),
    (r"\*|\$|~(?=~)|(?<!\w)_|_(?!\w)|(?<=\])[(\[:]|:(?=//)|(?<=\bwww)\.", r"\\\g<0>"),
]
"""Patterns that are markup in GitHub's Markdown, each with its replacement as plain text: first backslashes and borders
of cells, then entities and tags, emphasis, formulas, links and addresses.
"""


def printable(text: str, keep: str = "") -> str:
    r"""The text with invisible and steering characters as Python's escapes: ``\x1b``.

    keep: such characters that stay, like the line breaks in a message of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    steering = (c for c in set(text) if c not in keep and unicodedata.category(c) in STEERING)
    return text.translate({ord(c): c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in steering})


def markdown(text: str, paragraph: bool = False) -> str:
    """The text in one line that Markdown shows as it is: no end of a cell, no tag, no link.

    paragraph: whether it begins a paragraph, not a cell or a heading.
    """
    text = printable(text)
    for pattern, written in MARKUP:
        text = re.sub(pattern, written, text)
    return re.sub(r"\A(\d*)(?=[#>+=-]|(?<=\d)[.)]\s)", r"\1\\", text) if paragraph else text
