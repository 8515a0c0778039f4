"""Charts of the page, each kind chosen by the metrics and columns that records have."""

from harness.report.page.charts.boards import charts_of_board

__all__ = ["charts_of_board"]
