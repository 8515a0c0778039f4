"""Charts over several boards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.evaluation.records.record import RunRecord
from harness.report.colours import Style
from harness.report.page.charts.published import published
from harness.report.page.parts import Chart
from harness.report.table import Table


def charts_across(
    records: Sequence[RunRecord], looks: Mapping[str, Style] | None = None, tables: Sequence[Table] = ()
) -> list[Chart]:
    """Effective robustness over the line-up, and the tables of papers.

    looks: by classifier, its style in the whole page. tables: of papers, as `paper_tables` reads them.
    """
    return published(tables)
