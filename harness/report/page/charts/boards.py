"""All charts of a board."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.base.errors import HarnessError
from harness.evaluation.records.record import RunRecord
from harness.report.colours import Style
from harness.report.page.charts.common import Board, board_of
from harness.report.page.charts.cost import cost
from harness.report.page.charts.curves import over_severity, over_time
from harness.report.page.charts.heat import corruptions, detectors
from harness.report.page.charts.methods import methods
from harness.report.page.charts.ranking import rank_diagram, ranking
from harness.report.page.charts.sampled.certified import certified
from harness.report.page.charts.sampled.confidence import confidence
from harness.report.page.charts.sampled.detection import detection
from harness.report.page.parts import Chart
from harness.report.ranks.board_ranks import Ranks

Kind = Callable[[Board], Chart | Sequence[Chart] | None]

KINDS: Mapping[str, Kind] = {
    "ranking": ranking,
    "methods": methods,
    "ranks": rank_diagram,
    "heat map of corruptions": corruptions,
    "heat map of methods": detectors,
    "severity curves": over_severity,
    "curves over time": over_time,
    "cost": cost,
    "certified accuracy": certified,
    "ROC curves": detection,
    "reliability and risk": confidence,
}
"""Kinds of charts in the order of the page, by the name under which one is reported missing."""


def charts_of_board(board: Sequence[RunRecord], ranks: Ranks, looks: Mapping[str, Style] | None = None) -> list[Chart]:
    """The charts that a board's metrics and sample tables allow.

    looks: by classifier, its style in the whole page: `harness.report.colours.styles` of all names; without it, of the
    board's. A chart that cannot be drawn is left out, and the first chart's caption says why.
    """
    seen = board_of(board, ranks, looks)
    charts: list[Chart] = []
    reasons = []
    for name, kind in KINDS.items():
        try:
            drawn = kind(seen)
        except HarnessError as reason:
            reasons.append(f"{name} ({str(reason).rstrip('.')})")
            continue
        charts += [drawn] if isinstance(drawn, Chart) else drawn or []
    if reasons and charts:
        charts[0] = replace(charts[0], caption=f"{charts[0].caption} Left out: {'; '.join(reasons)}.")
    return charts
