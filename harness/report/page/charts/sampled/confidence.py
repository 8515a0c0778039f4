"""Confidence: reliability and risk-coverage curves, from sample tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.base.errors import HarnessError
from harness.metrics.calibration import BINS, Bin, reliability
from harness.metrics.selective import risk_coverage
from harness.report.page.charts.common import MOST_PANELS, Board, digits
from harness.report.page.charts.curves import TIME
from harness.report.page.parts import Chart
from harness.report.page.svg.axes import Frame
from harness.report.page.svg.elements import group, joined, side_by_side, text
from harness.report.page.svg.marks import line, reference
from harness.report.page.svg.scales import Scale, fit
from harness.report.table import Table

ACCURACIES = ("accuracy", "mean_accuracy")
"""First columns of boards of classification."""

FEWEST = 10
"""Answers of a bin that is drawn: the accuracy of fewer is noise."""

POINTS = 30
"""Points of a risk-coverage curve."""

LEAST = 0.02
"""Share of images from which on a risk is drawn: that of fewer is noise."""

COVERAGES = (10, 20, 50, 80, 90, 100)
"""Percent covered, for the data under the chart."""

Curve = tuple[list[float], list[float]]
Answers = tuple[NDArray[np.bool_], NDArray[np.float64]]
"""Correctness and confidence of a row's answers, under all conditions alike."""


def confidence(board: Board) -> Sequence[Chart]:
    """Both charts, for boards that rank by an accuracy; none where no table has confidences, or by diffusion time.

    Raises HarnessError where no sample table can be read.
    """
    first = board.entries[0]
    if first.columns[0][0] not in ACCURACIES or any(TIME.fullmatch(m.condition) for m in first.metrics):
        return []
    answers: dict[int, Answers] = {}
    missing = 0
    for k in range(len(board.entries)):
        try:
            rows = board.rows_of(k)
        except HarnessError:
            missing += 1
            continue
        if "confidence" in rows:
            answers[k] = rows["prediction"] == rows["label"], np.asarray(rows["confidence"], dtype=np.float64)
    if missing == len(board.entries):
        raise HarnessError("no sample table can be read")
    if not answers:
        return []
    note = f" Rows without a readable sample table: {missing}." if missing else ""
    return [_reliability(board, answers, note), _risk(board, answers, note)]


def _reliability(board: Board, answers: Mapping[int, Answers], note: str) -> Chart:
    title = "Accuracy against confidence"
    bins = {k: [b for b in reliability(*values) if b.answers >= FEWEST] for k, values in answers.items()}
    curves = {k: ([100 * b.confidence for b in found], [100 * b.accuracy for b in found]) for k, found in bins.items()}
    data = [[board.models[k], board.methods[k], *_by_bin(found)] for k, found in bins.items()]
    low = min((v for curve in curves.values() for values in curve for v in values), default=0.0)
    low = 10 * math.floor(min(low, 90.0) / 10)
    frame = Frame(Scale(low, 100), Scale(low, 100), height=300)
    diagonal = reference(frame.at(low, low), frame.at(100, 100))
    caption = (
        f"Dashed: confidence that equals accuracy; below it a classifier is overconfident. Answers of all conditions "
        f"together, a point per bin of {BINS}; bins of fewer than {FEWEST} answers are left out.{note}"
    )
    header = ["classifier", "method", *(f"accuracy (%) at confidence {k}/{BINS}" for k in range(1, BINS + 1))]
    axes = Axes("confidence (%)", "accuracy (%)", frame, "too few uncertain answers for a curve")
    svg = _panels(board, "reliability", title, axes, curves, diagonal)
    return Chart(board.id("reliability"), title, svg, caption, Table(title, header, data))


def _by_bin(found: Sequence[Bin]) -> list[str]:
    """Accuracy in percent by bin; empty for a bin that is not drawn."""
    accuracies = {round(b.high * BINS): b.accuracy for b in found}
    return [f"{100 * accuracies[k]:.1f}" if k in accuracies else "" for k in range(1, BINS + 1)]


def _risk(board: Board, answers: Mapping[int, Answers], note: str) -> Chart:
    title = "Risk against coverage"
    curves, data = {}, []
    for k, values in answers.items():
        coverage, risk = risk_coverage(*values)
        kept = coverage >= min(LEAST, coverage[-1])
        coverage, risk = 100 * coverage[kept], 100 * risk[kept]
        places = _evenly(left := 100 - coverage)
        curves[k] = (left[places].tolist(), risk[places].tolist())
        at = [float(risk[min(np.searchsorted(coverage, share - 1e-9), len(risk) - 1)]) for share in COVERAGES]
        data.append([board.models[k], board.methods[k], *(digits(round(value, 2)) for value in at)])
    worst = fit([0.0, *(v for _, risks in curves.values() for v in risks)], least=0.0, most=100.0)
    caption = (
        "Errors among the answers that are kept when the least confident ones are withheld: coverage is 100 % less the "
        f"share on the horizontal axis, which is logarithmic.{note}"
    )
    header = ["classifier", "method", *(f"risk (%) at {share} %" for share in COVERAGES)]
    frame = Frame(Scale(0, 100, kind="log"), worst, height=280)
    svg = _panels(board, "risk", title, Axes("answers withheld (%)", "risk (%)", frame), curves)
    return Chart(board.id("risk"), title, svg, caption, Table(title, header, data))


def _evenly(left: NDArray[np.float64]) -> list[int]:
    """At most `POINTS` places of a falling list of percents, evenly in the logarithm of 1 + percent, with both ends."""
    marks = np.geomspace(1 + left[-1], 1 + left[0], POINTS) - 1
    places = np.searchsorted(-left, -marks, side="left")
    return sorted({0, len(left) - 1, *np.minimum(places, len(left) - 1).tolist()})


@dataclass(frozen=True)
class Axes:
    """Axes of each panel. x, y: labels. empty: words where no curve has two points; with them points have dots."""

    x: str
    y: str
    frame: Frame
    empty: str = ""


def _panels(
    board: Board,
    kind: str,
    title: str,
    axes: Axes,
    curves: Mapping[int, Curve],
    *behind: object,
) -> Any:
    """A panel per method, a line per classifier."""
    drawings = []
    for number, (method, rows) in enumerate(list(board.by_method.items())[:MOST_PANELS]):
        lines = [
            group(line(axes.frame.points(*curves[k]), board.line(k), dots=bool(axes.empty)), tip=board.labels[k])
            for k in rows
            if k in curves and curves[k][0]
        ]
        heading = method if len(board.by_method) > 1 else ""
        id = f"{board.id(kind)}--{number}"
        drawn = [*behind, *lines]
        if axes.empty and all(len(curves[k][0]) < 2 for k in rows if k in curves):
            low, right = axes.frame.height - axes.frame.bottom - 10, axes.frame.width - 18
            drawn.append(text(axes.empty, right, low, anchor="end", fill="var(--muted)"))
        drawings.append(axes.frame.draw(id, heading, f"{title}, {method}", axes.x, axes.y, joined(drawn)))
    return board.legend(sorted(curves)) + side_by_side(drawings)
