"""Files of a drawn figure: PNG, SVG, numbers as CSV and caption; the same drawing makes the same bytes."""

from __future__ import annotations

from pathlib import Path

from harness.base.files import writing
from harness.report.figures.draw import METADATA
from harness.report.formats import csv_text
from harness.types.figures import Drawing

PRINT = 300
"""Dots per inch of the PNG: journals ask for so many."""

SUFFIXES = (*METADATA, "csv", "txt")
"""Files of a figure."""


def paths(folder: Path, name: str) -> list[Path]:
    """The files of a figure of this name."""
    return [folder / f"{name}.{suffix}" for suffix in SUFFIXES]


def write(drawing: Drawing, folder: Path, name: str) -> list[Path]:
    """Write a drawing as NAME.png, .svg, .csv and .txt, each in full or not at all; drawn and written in one `styled`.

    Raises HarnessError for a folder that cannot be written to.
    """
    files = paths(folder, name)
    for file in files:
        with writing(file) as partial:
            if (kind := file.suffix.removeprefix(".")) in METADATA:
                drawing.figure.savefig(partial, format=kind, dpi=PRINT, metadata=METADATA[kind])
            else:
                text = f"{drawing.caption}\n" if kind == "txt" else _numbers(drawing)
                partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return files


def _numbers(drawing: Drawing) -> str:
    return csv_text.text([dict(zip(drawing.header, row, strict=True)) for row in drawing.rows])
