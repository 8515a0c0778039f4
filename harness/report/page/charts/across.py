"""Charts over several boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.evaluation.records.record import RunRecord
from harness.report.colours import Style
from harness.report.page.charts.robustness import robustness
from harness.report.page.parts import Chart


def charts_across(
    records: Sequence[RunRecord], looks: Mapping[str, Style] | None = None
) -> tuple[list[Chart], list[str]]:
    """Effective robustness over the line-up, and sentences on the pairs of boards without a chart.

    looks: by classifier, its style in the whole page.
    """
    return robustness(records, looks)
