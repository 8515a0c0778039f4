"""SVG of charts: elements, marks and axes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from harness.report.colours import SHAPES, Style
from harness.report.page.svg.axes import Frame, legend
from harness.report.page.svg.elements import LONGEST, element, group, number, shortened
from harness.report.page.svg.marks import band, line, mark, path, stepped
from harness.report.page.svg.rows import HeatRow, Row, across, heat_map, row_chart
from harness.report.page.svg.scales import Scale

HOSTILE = '"><script>alert(1)</script>\x1b\u202e'


def frame() -> Frame:
    return Frame(Scale(0, 10), Scale(0, 100))


def test_coordinates_have_one_decimal_at_most() -> None:
    assert [number(v) for v in (1, 1.04, -0.04, 2.96, 1000.25)] == ["1", "1", "0", "3", "1000.2"]


def test_hostile_names_are_text_in_every_place() -> None:
    drawings = [
        frame().draw("id", HOSTILE, HOSTILE, HOSTILE, HOSTILE, group(line([(0, 0)], Style()), tip=HOSTILE)),
        legend([(HOSTILE, Style())]),
        row_chart("id", HOSTILE, HOSTILE, [Row(HOSTILE, HOSTILE, lambda y: HOSTILE)], across(Scale(0, 1)), HOSTILE),
        heat_map("id", HOSTILE, HOSTILE, [HOSTILE], [HeatRow(HOSTILE, HOSTILE, [1.0])], Scale(0, 1)),
        element("p", HOSTILE, title=HOSTILE),
    ]
    for drawn in drawings:
        assert isinstance(drawn, Markup)
        assert "<script" not in drawn
        assert ElementTree.fromstring(drawn.replace("\x1b", "").replace("&#39;", "'")) is not None


def test_steering_characters_are_spelt_out_and_long_names_lose_their_middle() -> None:
    assert shortened("a\u202eb") == "a\\u202eb"
    assert len(shortened("x" * 500)) == LONGEST
    assert shortened("a" * 100 + "z" * 100).endswith("zzz")


def test_every_colour_is_a_variable_of_the_page() -> None:
    marks = [mark(1, 1, Style(k, 0, k % len(SHAPES))) for k in range(10)]
    drawn = frame().draw("id", "t", "d", "x", "y", *marks, band([0, 1], [0, 0], [1, 1], Style(3)))
    painted = set(re.findall(r'(?:fill|stroke)="([^"]*)"', drawn))
    assert all(paint == "none" or paint.startswith("var(--") for paint in painted)
    assert {f"var(--series-{k})" for k in range(1, 11)} <= painted


def test_a_drawing_is_named_for_screen_readers() -> None:
    drawn = ElementTree.fromstring(frame().draw("c", "Accuracy", "Board, method", "x", "y"))
    assert drawn.get("role") == "img"
    named = {part.get("id"): part.text for part in drawn if part.tag in ("title", "desc")}
    assert [named[id] for id in drawn.get("aria-labelledby", "").split()] == ["Accuracy", "Board, method"]


def test_points_that_are_not_finite_are_left_out() -> None:
    assert len(frame().points([1, float("nan"), 3], [1, 2, float("inf")])) == 1


def test_a_heat_map_has_a_cell_for_each_value_and_none_for_a_missing_one() -> None:
    rows = [HeatRow("a", "", [10.0, None, 30.0]), HeatRow("b", "", [None, 20.0, 30.4])]
    drawn = heat_map("id", "t", "d", ["x", "y", "z"], rows, Scale(10, 30))
    assert re.findall(r"<tspan[^>]*>(\d+)</tspan>", drawn) == ["10", "30", "20", "30"]
    assert re.findall(r'fill-opacity="([\d.]+)"', drawn) == ["0.00", "0.50", "0.25", "0.50"]


def test_paths_go_in_steps_between_rounded_places_so_that_no_error_adds_up() -> None:
    points = [(0.04 * k, 100 - 0.07 * k) for k in range(200)]
    numbers = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", path(points))]
    assert sum(numbers[0::2]) == pytest.approx(points[-1][0], abs=0.051)
    assert sum(numbers[1::2]) == pytest.approx(points[-1][1], abs=0.051)
    assert path([(1.5, 2), (1.25, 2.5)]) == "M1.5 2l-.3 .5"
    assert path([(3, 4)]) == "M3 4"


def test_steps_keep_the_height_until_the_next_point() -> None:
    assert stepped([(0, 10), (2, 10), (4.5, 8), (4.5, 0)]) == "M0 10h2h2.5v-2v-8"
