"""Options of commands that show boards: which rows and columns, and in what format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.base.errors import HarnessError


class Format(StrEnum):
    """Formats of leaderboards."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    json = "json"
    latex = "latex"
    html = "html"
    macros = "macros"


SHOWN, WRITTEN = "Rows and columns", "Formats and files"
"""Panels of the help."""

Columns = Annotated[
    list[str],
    typer.Option(
        metavar="METRIC[@CONDITION],...",
        help="Columns to show, shell patterns such as `mce` or `accuracy@*noise*`. Repeatable.",
        rich_help_panel=SHOWN,
    ),
]
Models = Annotated[
    list[str],
    typer.Option(metavar="PATTERN,...", help="Only these models: `digits/vit*`. Repeatable.", rich_help_panel=SHOWN),
]
Methods = Annotated[
    list[str],
    typer.Option(
        "--methods",
        "--detectors",
        metavar="PATTERN,...",
        help="Only these methods or detectors: `default,dda*`. Repeatable.",
        rich_help_panel=SHOWN,
    ),
]
Where = Annotated[
    list[str],
    typer.Option(
        metavar="METRIC[@CONDITION]>VALUE",
        help="Only rows that meet this: `mean_accuracy>0.9`, `accuracy@fog/5>=80%`. Repeatable.",
        rich_help_panel=SHOWN,
    ),
]
As = Annotated[
    Format | None,
    typer.Option(
        help="csv and json: unrounded, a row per metric; macros: a LaTeX command per number. "
        "[default: by the suffix of --out, otherwise table]",
        rich_help_panel=WRITTEN,
        show_default=False,
    ),
]
Out = Annotated[Path | None, typer.Option(help="Write to this file, not to the terminal.", rich_help_panel=WRITTEN)]


def check_out(format: str | None, out: Path | None) -> None:
    """Raise HarnessError for a file whose suffix means no format, unless one is given, and for an absent folder."""
    from harness.report.formats.render import SUFFIXES

    if out and not format and out.suffix.lower() not in SUFFIXES:
        raise HarnessError(f"--out {out}: the suffix must be one of {', '.join(SUFFIXES)}; or give --format.")
    if out and not out.parent.is_dir():
        raise HarnessError(f"--out {out}: there is no folder {out.parent.absolute()}. Make it, or choose another.")


def split(texts: Sequence[str]) -> tuple[str, ...]:
    """The patterns in lists such as ``a*,b``; one with settings, ``de:times=0,100``, holds commas and stays whole."""
    parts = [[text] if re.search(":.*=", text) else text.split(",") for text in texts]
    return tuple(part.strip() for listed in parts for part in listed if part.strip())
