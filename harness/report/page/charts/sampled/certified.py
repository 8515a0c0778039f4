"""Certified accuracy: the share of images that are right and certified beyond a radius, from sample tables."""

from __future__ import annotations

import numpy as np

from harness.base.errors import HarnessError
from harness.report import names
from harness.report.page.charts.common import MOST_PANELS, Board, thinned
from harness.report.page.parts import Chart
from harness.report.page.svg.axes import Frame
from harness.report.page.svg.elements import group, joined, side_by_side
from harness.report.page.svg.marks import line
from harness.report.page.svg.scales import Scale, fit
from harness.report.table import Table

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
"""Radii of the data under the chart."""

Curve = tuple[list[float], list[float]]
"""Radii and the percentage certified at each."""


def survival(radius: np.ndarray, certified: np.ndarray) -> Curve:
    """Percent of the images that are certified and have at least a radius: y[k] holds beyond x[k], as far as x[k+1].

    radius: (n,). certified: (n,) bool. Both lists begin at radius 0; the last share is 0.
    """
    total = max(len(radius), 1)
    radii, counts = np.unique(radius[certified], return_counts=True)
    beyond = counts.sum() - np.cumsum(counts)
    places = thinned(len(radii), 98)
    return [0.0, *radii[places].tolist()], [100 * int(counts.sum()) / total, *(100 * beyond[places] / total).tolist()]


def at(curve: Curve, radius: float) -> float:
    """The percentage of a curve at a radius."""
    x, y = curve
    return y[0] if radius <= 0 else y[max(k for k in range(len(x)) if k == 0 or x[k] < radius)]


def certified(board: Board) -> Chart | None:
    """A panel per noise level, a line per row; None for other suites. HarnessError without sample tables."""
    if not any(m.name == "certified_accuracy" for entry in board.entries for m in entry.metrics):
        return None
    curves: dict[str, dict[int, Curve]] = {}
    missing = 0
    for k in range(len(board.entries)):
        try:
            rows = board.rows_of(k, "radius")
        except HarnessError:
            missing += 1
            continue
        for condition in dict.fromkeys(rows["condition"].tolist()):
            cells = rows["condition"] == condition
            right = rows["prediction"][cells] == rows["label"][cells]
            curves.setdefault(condition, {})[k] = survival(rows["radius"][cells], right)
    if not curves:
        raise HarnessError("no sample table can be read")
    return _chart(board, dict(list(curves.items())[:MOST_PANELS]), missing)


def _chart(board: Board, curves: dict[str, dict[int, Curve]], missing: int) -> Chart:
    title, id = "Certified accuracy against radius", board.id("certified")
    drawings = []
    data = []
    for k, (condition, lines) in enumerate(curves.items()):
        lowest = min(
            10 * (share // 10) for _, shares in lines.values() for share in shares if share > 0 or not any(shares)
        )
        radii = fit([0.0, *(v for radii, _ in lines.values() for v in radii)], least=0.0)
        frame = Frame(radii, Scale(min(lowest, 90.0), 100), height=300)
        drawn = joined(
            group(
                line(frame.points(*curve), board.line(row), steps=True, width=1.4),
                tip=f"{board.labels[row]}: {curve[1][0]:.1f} % at radius 0, {at(curve, 0.5):.1f} % at 0.5",
            )
            for row, curve in lines.items()
        )
        text = f"{title}, {condition}, {names.title(board.entries[0])}"
        drawings.append(frame.draw(f"{id}--{k}", condition, text, "l2 radius", "certified accuracy (%)", drawn))
        for row, curve in lines.items():
            data.append([board.labels[row], condition, *(f"{at(curve, radius):.1f}" for radius in GRID)])
    caption = (
        "Percent of the images that are right and certified to at least that radius, each axis from the lowest "
        "share above 0; intervals are in the table."
    )
    if missing:
        caption += f" Rows without a readable sample table: {missing}."
    svg = board.legend(sorted({row for lines in curves.values() for row in lines})) + side_by_side(drawings)
    return Chart(id, title, svg, caption, Table(title, ["row", "noise", *(f"r = {radius:g}" for radius in GRID)], data))
