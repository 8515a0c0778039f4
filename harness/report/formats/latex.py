"""Tables for LaTeX: booktabs, and siunitx columns in which the decimal points stand below each other."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

from harness.base.errors import Notice
from harness.report.formats.tex import comment, escaped
from harness.report.table import RANK, Table

NUMBER = r"[-+]?\d+(?:\.\d+)?"
WITH_INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
MISSING = ("", "undefined")
PREAMBLE = r"\usepackage{booktabs,siunitx} \sisetup{detect-weight=true,mode=text}"
"""What a document needs for these tables; numbers in bold need the second part."""

COLUMN, LINES = 345, 48
"""Width of the text of LaTeX's article in points, and lines of a table in \\small on its page."""

LETTER, LETTER_SMALL, SEPARATION, SEPARATION_SMALL = 5.2, 4.7, 12, 6
"""Points of a letter and between two columns, about, as usual and in \\small with a narrow \\tabcolsep."""

HASH = re.compile(r"\b[0-9a-f]{12}\b")


def text(table: Table) -> str:
    """A ``table`` with its caption. Rows that tie with the best are bold.

    A column of numbers with intervals takes two: siunitx's for the value, and the interval in brackets. A table that is
    wider or longer than the page of an article is set in \\small; what is still too large gets a comment and a notice.
    Sentences with hashes go into a comment.
    """
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    kinds = ["l" if k < table.names else _kind(column) for k, column in enumerate(columns)]
    ranks = [name == RANK and k < table.names for k, name in enumerate(table.header)]
    rows = [
        " & ".join(
            _cell(cell, kind, place in table.top, rank) for cell, kind, rank in zip(row, kinds, ranks, strict=True)
        )
        for place, row in enumerate(table.rows)
    ]
    header = " & ".join(_heading(text, kind) for text, kind in zip(table.header, kinds, strict=True))
    sentences = re.split(r"(?<=\.) ", table.caption)
    caption = " ".join(sentence for sentence in sentences if not HASH.search(sentence))
    size, doubt = _size(table, kinds)
    lines = [
        comment(table.title),
        *(comment(sentence) for sentence in sentences if HASH.search(sentence)),
        f"% In the preamble: {PREAMBLE}",
        *([comment(doubt)] if doubt else []),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.title)}. {escaped(caption)}}}",
        rf"\label{{tab:{_label(table.title)}}}",
        *size,
        rf"\begin{{tabular}}{{{''.join(kinds)}}}",
        r"\toprule",
        *[rf"{row} \\" for row in (header,)],
        r"\midrule",
        *[rf"{row} \\" for row in rows],
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _size(table: Table, kinds: Sequence[str]) -> tuple[list[str], str]:
    """Commands that make a table smaller, and a sentence for one that is too large for a page all the same."""
    columns = zip(table.header, *table.rows, strict=True)
    letters = sum(max(map(len, cells)) for cells in columns)
    if letters * LETTER + SEPARATION * len(kinds) <= COLUMN and len(table.rows) < LINES:
        return [], ""
    commands = [r"\small", rf"\setlength{{\tabcolsep}}{{{SEPARATION_SMALL // 2}pt}}"]
    width = round(letters * LETTER_SMALL + SEPARATION_SMALL * len(kinds))
    faults = [f"about {width} pt wide where an article has {COLUMN}"] if width > COLUMN else []
    faults += [f"{len(table.rows)} rows long where a page has {LINES}"] if len(table.rows) >= LINES else []
    if not faults:
        return commands, ""
    doubt = f"{table.title}: the table is {' and '.join(faults)}. Choose --columns, --models or --methods."
    warnings.warn(Notice(doubt), stacklevel=2)
    return commands, doubt


def _label(title: str) -> str:
    """A short label from a title: ``digits-c`` of a whole test set, else with the coverage or the metric."""
    board, _, metric = title.partition(": ")
    name, _, coverage = re.sub(r" v\d+(?=,|$)", "", board).partition(", ")
    subset = coverage.removesuffix(" (subset)") if coverage.endswith("(subset)") else ""
    return re.sub("[^A-Za-z0-9]+", "-", " ".join([name, subset, metric])).strip("-")


def _kind(cells: Sequence[str]) -> str:
    """The specification of a column: of numbers, of numbers and of their intervals, or of texts."""
    present = [cell for cell in cells if cell not in MISSING]
    matches = [WITH_INTERVAL.fullmatch(cell) for cell in present]
    if present and all(matches):
        return _number([match[1] for match in matches if match]) + "@{ }r"
    return _number(present) if present and all(re.fullmatch(NUMBER, cell) for cell in present) else "l"


def _number(numbers: Sequence[str]) -> str:
    """A column of siunitx with room for these numbers."""
    whole = max(len(number.lstrip("+-").partition(".")[0]) for number in numbers)
    decimals = max(len(number.partition(".")[2]) for number in numbers)
    sign = "-" if any(number[0] in "+-" for number in numbers) else ""
    return f"S[table-format={sign}{whole}.{decimals}]"


def _heading(text: str, kind: str) -> str:
    return rf"\multicolumn{{2}}{{c}}{{{escaped(text)}}}" if kind.endswith("r") else f"{{{escaped(text)}}}"


def _cell(text: str, kind: str, bold: bool, rank: bool) -> str:
    weight = r"\bfseries " if bold else ""
    if kind == "l":
        return weight + (re.sub(r"(?<=\d)-(?=\d)", "--", escaped(text)) if rank else escaped(text))
    if text in MISSING:
        return r"\multicolumn{2}{c}{--}" if kind.endswith("r") else "{--}"
    if match := WITH_INTERVAL.fullmatch(text):
        low, high = (end.replace("-", "$-$") for end in match.groups()[1:])
        return f"{weight}{match[1]} & {weight}{{[}}{low}, {high}{{]}}"
    return weight + text
