"""Figures of leaderboards, as suites draw them and as files. matplotlib is imported when a figure is drawn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import plugins
from harness.base.files import writing
from harness.evaluation.records.record import RunRecord
from harness.report import names
from harness.report.figures.curves import lines as lines
from harness.report.figures.curves import survival as survival
from harness.report.figures.detection import few as few
from harness.report.figures.detection import heat_maps as heat_maps
from harness.report.figures.detection import scores as scores
from harness.report.figures.dots import ranking as ranking
from harness.report.figures.style import styled

METADATA = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
"""By file type, the metadata that would differ from run to run."""

RESOLUTION = 150
"""Dots per inch of the PNG."""

LONGEST = 100
"""Characters of a figure's file name."""


def write(entries: Sequence[RunRecord], folder: Path, models: Iterable[str] = ()) -> list[Path]:
    """The figures of one leaderboard as PNG and SVG, named after its suite; the same records make the same SVG.

    entries: the rows to draw, from the best on. models: names of all classifiers in the results folder, which decide
    the colours.
    """
    stem = "-".join(re.findall(r"[\w.=]+", names.title(entries[0])))[:LONGEST]
    files = []
    with styled([*models, *(entry.model.name for entry in entries)]):
        for name, figure in _figures(entries).items():
            for kind, metadata in METADATA.items():
                files.append(folder / f"{stem}{'-' if name else ''}{name}.{kind}")
                with writing(files[-1]) as partial:
                    smaller = {"pil_kwargs": {"optimize": True}} if kind == "png" else {}
                    figure.savefig(partial, format=kind, dpi=RESOLUTION, metadata=metadata, **smaller)
    return files


def _figures(entries: Sequence[RunRecord]) -> Mapping[str, Any]:
    """The figures by the end of their file's name; "" for a suite's only one."""
    # Records outlive the plugin file of their suite; its own kind of figure does not.
    if entries[0].suite.partition(":")[0] not in plugins.suite:
        return {"": ranking(entries)}
    drawn = plugins.suite.configure(entries[0].suite).plugin.figure(entries)
    return drawn if isinstance(drawn, Mapping) else {"": drawn}
