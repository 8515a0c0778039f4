"""Charts of the page, each kind chosen by the metrics and columns that records have."""

from harness.report.page.charts.across import charts_across
from harness.report.page.charts.boards import charts_of_board

__all__ = ["charts_across", "charts_of_board"]
