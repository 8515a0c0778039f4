"""Curves: a metric over diffusion time or severity, a line per classifier, a panel per method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from harness.base.errors import HarnessError
from harness.metrics.accuracy import matrix, mean_accuracy
from harness.report import names
from harness.report.page.charts.common import INTERVALS, MOST_PANELS, Board, digits, headed, scaled, thinned
from harness.report.page.parts import Chart
from harness.report.page.svg.axes import Frame
from harness.report.page.svg.elements import group, joined, side_by_side
from harness.report.page.svg.marks import band, line
from harness.report.page.svg.scales import fit
from harness.report.posthoc.effective import GRADED
from harness.report.table import Table

TIME = re.compile(r"t=(\d+)")
"""A condition with a diffusion time: ``t=50``."""

MOST_COLUMNS = 25
"""Columns of the data under a chart."""

FEWEST = 3
"""Points of a curve."""

Curve = Sequence[tuple[float, float, float, float]]
"""Points (x, value, low, high); low and high are the value where there is no interval."""


def over_time(board: Board) -> list[Chart]:
    """Every metric that records have at several diffusion times, against the time."""
    at_times = [m.name for m in board.entries[0].metrics if TIME.fullmatch(m.condition)]
    charts = []
    for metric in (name for name in dict.fromkeys(at_times) if at_times.count(name) >= FEWEST):
        curves = {k: _by_time(board, k, metric) for k in range(len(board.entries))}
        condition = next(m.condition for m in board.entries[0].metrics if m.name == metric)
        heading = names.heading(board.entries[0], metric, condition, bare=True)
        charts.append(_chart(board, metric, f"{heading} against diffusion time", "diffusion time t", heading, curves))
    return [chart for chart in charts if chart is not None]


def _by_time(board: Board, row: int, metric: str) -> Curve:
    points = []
    for m in board.entries[row].metrics:
        time, value = TIME.fullmatch(m.condition), scaled(m)
        if m.name == metric and time and value:
            points.append((float(time[1]), *value))
    return sorted(points)


def over_severity(board: Board) -> Chart | None:
    """Accuracy against severity, the mean over corruptions; None where no corruption has several severities."""
    curves = {k: _by_severity(board, k) for k in range(len(board.entries))}
    if max(map(len, curves.values())) < 2:
        return None
    bare = sum(low == high for curve in curves.values() for _, _, low, high in curve[:1])
    note = "Means over the corruptions."
    note += f" Rows without a readable sample table, and so without a band: {bare}." if bare else ""
    title = "accuracy (%) against severity"
    return _chart(board, "severity", title, "severity", "mean accuracy (%)", curves, note)


def _by_severity(board: Board, row: int) -> Curve:
    """Means over the corruptions, with intervals of the per-image means where the sample table can be read."""
    values: dict[int, dict[str, float]] = {}
    for m in board.entries[row].metrics:
        graded, value = GRADED.fullmatch(m.condition), scaled(m)
        if m.name == "accuracy" and graded and value:
            values.setdefault(int(graded[2]), {})[m.condition] = value[0]
    if len(values) < 2:
        return [(float(severity), *_point(fmean(means.values()))) for severity, means in values.items()]
    try:
        rows = board.rows_of(row, "prediction")
        correct = np.asarray(rows["label"]) == np.asarray(rows["prediction"])
        tables = {s: matrix(rows["id"], rows["condition"], correct, list(names)) for s, names in values.items()}
        intervals = {s: mean_accuracy(table).interval for s, table in tables.items()}
    except HarnessError:
        intervals = {}
    means = {severity: fmean(numbers.values()) for severity, numbers in sorted(values.items())}
    return [(float(s), *_point(mean, intervals.get(s))) for s, mean in means.items()]


def _point(mean: float, interval: tuple[float, float] | None = None) -> tuple[float, float, float]:
    """A mean in percent with the ends of its interval, a fraction, in percent; with itself for both without one."""
    low, high = interval or (mean / 100, mean / 100)
    return mean, 100 * low, 100 * high


def _chart(
    board: Board, kind: str, title: str, xlabel: str, ylabel: str, curves: Mapping[int, Curve], note: str = ""
) -> Chart | None:
    """Panels by method, with one scale."""
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return None
    intervals = any(low < high for _, _, low, high in points)
    places = sorted({p[0] for p in points})
    shown = [places[k] for k in thinned(len(places), MOST_COLUMNS)]
    x = fit(places)
    y = fit([0.0, *(v for p in points for v in p[1:])], least=0.0)
    panels = [(name, [k for k in rows if curves[k]]) for name, rows in board.by_method.items()]
    drawings, data = [], []
    for k, (name, rows) in enumerate(panels[:MOST_PANELS]):
        frame = Frame(x, y, height=300)
        heading = name if len(panels) > 1 else ""
        lines = joined(_line(board, frame, row, curves[row]) for row in rows)
        drawings.append(frame.draw(f"{board.id(kind)}--{k}", heading, f"{title}, {name}", xlabel, ylabel, lines))
        for row in rows:
            by_x = {place: ends for place, *ends in curves[row]}
            for place, end in enumerate(("value", "low", "high") if intervals else ("value",)):
                numbers = (_spelled(by_x.get(v, ()), place) for v in shown)
                data.append([board.models[row], name, end, *numbers])
    more = f" Not drawn: {', '.join(name for name, _ in panels[MOST_PANELS:])}." if panels[MOST_PANELS:] else ""
    caption = " ".join(filter(None, [note, f"Bands: {INTERVALS.lower()}" if intervals else ""])) + more
    svg = side_by_side(drawings) + board.legend([row for _, rows in panels for row in rows])
    header = ["classifier", "method", ylabel, *(f"{xlabel.split()[-1]} = {v:g}" for v in shown)]
    return Chart(board.id(kind), headed(title), svg, caption, Table(headed(title), header, data))


def _spelled(ends: Sequence[float], place: int) -> str:
    """The value, or an end of its interval; empty where there is none."""
    return "" if not ends or (place and ends[1] == ends[2]) else digits(ends[place])


def _line(board: Board, frame: Frame, row: int, curve: Curve) -> object:
    """One line with its band."""
    x, value, low, high = zip(*(curve[k] for k in thinned(len(curve))), strict=True)
    pixels = [frame.across(v) for v in x]
    style = board.line(row)
    shade = band(pixels, [frame.up(v) for v in low], [frame.up(v) for v in high], style) if low != high else ""
    tip = f"{board.labels[row]}: {value[0]:.3g} at {x[0]:g}, {value[-1]:.3g} at {x[-1]:g}"
    return group(shade, line(frame.points(x, value), style, dots=True), tip=tip)
