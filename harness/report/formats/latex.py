"""Tables for LaTeX: booktabs, and siunitx columns in which the decimal points stand below each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.report.formats.tex import comment, escaped, name
from harness.report.table import Table

NUMBER = r"[-+]?\d+(?:\.\d+)?"
WITH_INTERVAL = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
MISSING = ("", "undefined")
PREAMBLE = r"\usepackage{booktabs,siunitx} \sisetup{detect-weight=true,mode=text}"
"""What a document needs for these tables; numbers in bold need the second part."""


def text(table: Table) -> str:
    """A ``table`` with its caption. Rows that tie with the best are bold.

    A column of numbers with intervals takes three of siunitx's: value, and both ends in brackets.
    """
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    kinds = ["l" if k < table.names else _kind(column) for k, column in enumerate(columns)]
    rows = [
        " & ".join(_cell(cell, kind, bold=place in table.top) for cell, kind in zip(row, kinds, strict=True))
        for place, row in enumerate(table.rows)
    ]
    header = " & ".join(_heading(text, kind) for text, kind in zip(table.header, kinds, strict=True))
    lines = [
        comment(table.title),
        f"% In the preamble: {PREAMBLE}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.title)}. {escaped(table.caption)}}}",
        rf"\label{{tab:{name(table.title)}}}",
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


def _kind(cells: Sequence[str]) -> str:
    """The specification of a column: three of numbers, one of numbers, or one of texts."""
    present = [cell for cell in cells if cell not in MISSING]
    matches = [WITH_INTERVAL.fullmatch(cell) for cell in present]
    if present and all(matches):
        value, low, high = (_number([match[k] for match in matches if match]) for k in (1, 2, 3))
        return rf"{value}@{{ [}}{low}@{{, }}{high}@{{]\quad}}"
    return _number(present) if present and all(re.fullmatch(NUMBER, cell) for cell in present) else "l"


def _number(numbers: Sequence[str]) -> str:
    """A column of siunitx with room for these numbers."""
    whole = max(len(number.lstrip("+-").partition(".")[0]) for number in numbers)
    decimals = max(len(number.partition(".")[2]) for number in numbers)
    sign = "-" if any(number[0] in "+-" for number in numbers) else ""
    return f"S[table-format={sign}{whole}.{decimals}]"


def _heading(text: str, kind: str) -> str:
    return rf"\multicolumn{{3}}{{c}}{{{escaped(text)}}}" if kind.count("S[") == 3 else f"{{{escaped(text)}}}"


def _cell(text: str, kind: str, bold: bool) -> str:
    weight = r"\bfseries " if bold else ""
    if kind == "l":
        return weight + escaped(text)
    if text in MISSING:
        return r"\multicolumn{3}{c}{--}" if kind.count("S[") == 3 else "{--}"
    match = WITH_INTERVAL.fullmatch(text)
    return " & ".join(weight + part for part in (match.groups() if match else [text]))
