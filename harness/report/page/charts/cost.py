"""Quality against cost: the first column against denoiser calls per image, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.report import names
from harness.report.page.charts.common import Board, digits, scaled
from harness.report.page.charts.ranking import MOST_ROWS
from harness.report.page.parts import Chart
from harness.report.page.svg.axes import Frame
from harness.report.page.svg.elements import element, group, joined
from harness.report.page.svg.marks import mark, stepped
from harness.report.page.svg.scales import fit
from harness.report.table import Table

LABEL = "denoiser calls per image"

SPACE = 7.0
"""Pixels between marks that would hide each other."""


def front(points: Sequence[tuple[float, float]], higher_is_better: bool = True) -> list[int]:
    """The places of the Pareto front, by rising cost: (cost, value) that no cheaper or equally dear point reaches."""
    sign = -1.0 if higher_is_better else 1.0
    best, places = float("inf"), []
    for k in sorted(range(len(points)), key=lambda k: (points[k][0], sign * points[k][1], k)):
        if sign * points[k][1] < best:
            best = sign * points[k][1]
            places.append(k)
    return places


def apart(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Pixels of marks, each moved to the right past those before it that it would hide."""
    placed: list[tuple[float, float]] = []
    for x, y in spots:
        while any(abs(x - a) < SPACE - 0.01 and abs(y - b) < SPACE / 2 for a, b in placed):
            x += SPACE
        placed.append((x, y))
    return placed


def _placed(points: Sequence[tuple[float, float]]) -> tuple[Frame, list[tuple[float, float]]]:
    """A frame with room for the marks of the highest cost beside one another, and the pixels of all marks."""
    frame = Frame(fit((calls for calls, _ in points), kind="log"), fit(v for _, v in points), width=440, height=340)
    spots = apart([frame.at(*point) for point in points])
    most = max(calls for calls, _ in points)
    room = max(x for x, _ in spots) - frame.across(most) + SPACE
    share = min(room / (frame.across.end - frame.across.start), 0.6)
    if max(x for x, _ in spots) > frame.across.end:
        frame = replace(frame, x=replace(frame.x, high=(1 + most) ** (1 / (1 - share)) - 1))
    return frame, apart([frame.at(*point) for point in points])


def cost(board: Board) -> Chart | None:
    """Rows by cost and value; None where all cost the same, or so many rows share two costs that they hide another."""
    first = board.entries[0]
    column = first.columns[0]
    rows = [(k, value) for k, entry in enumerate(board.entries) if (value := scaled(entry.metric(*column)))]
    points = [(float(board.entries[k].cost.method_calls_per_image), value[0]) for k, value in rows]
    costs = len({calls for calls, _ in points})
    if costs < (2 if len(points) <= MOST_ROWS else 3):
        return None
    best = first.metric(*column)
    places = front(points, best is None or best.higher_is_better)
    heading = names.heading(first, *column)
    frame, spots = _placed(points)
    tipped = set(range(len(rows))) if len(rows) <= MOST_ROWS else set(places)
    marks = joined(
        group(
            mark(*spot, board.look(k)),
            tip=f"{board.labels[k]}: {value[0]:.1f}, {point[0]:.0f} calls per image" if place in tipped else "",
        )
        for place, ((k, value), point, spot) in enumerate(zip(rows, points, spots, strict=True))
    )
    corners = [frame.at(*points[place]) for place in places]
    tail = (frame.across.end, corners[-1][1])
    edge = element("path", d=stepped([*corners, tail]), fill="none", stroke="var(--muted)")
    title = f"Cost and {heading}"
    id = board.id("cost")
    svg = board.method_legend() + frame.draw(
        f"{id}--0", "", f"{title}, {names.title(first)}", LABEL, heading, edge, marks
    )
    labels = "; ".join(f"{board.labels[rows[p][0]]} ({points[p][0]:.0f}): {points[p][1]:.1f}" for p in places)
    most = " Calls are upper limits." if any(entry.cost.at_most for entry in board.entries) else ""
    caption = (
        f"Line: the Pareto front, at each cost the best {heading} of all rows that cost no more: {labels}. "
        f"Marks that would hide each other stand side by side, to the right of their cost.{most}"
    )
    on_front = {rows[place][0] for place in places}
    data = [
        [board.labels[k], f"{calls:.0f}", digits(value), "yes" if k in on_front else "no"]
        for (k, _), (calls, value) in zip(rows, points, strict=True)
    ]
    legend = board.legend([k for k, _ in rows], lines=False)
    return Chart(id, title, svg + legend, caption, Table(title, ["row", LABEL, heading, "on the front"], data))
