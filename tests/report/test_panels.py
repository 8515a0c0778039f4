"""Small panels: classifiers with and without DiffAug side by side, curves in percent, one legend."""

from __future__ import annotations

import pytest
from helpers import ROOT

from harness.report import boards
from harness.report.colours import PALETTE
from harness.report.figures.numbers import by_number, by_time, percent
from harness.report.figures.pairs import COLOURS, OTHERS, WITH, WITHOUT, by_recipe
from harness.report.figures.panels import Curve, panels
from harness.report.figures.style import styled
from harness.types import HarnessError
from harness.types.figures import Drawing

LINE = [(0.0, 1.0, 0.5, 1.5), (1.0, 2.0, 1.5, 2.5)]


def test_a_pair_shares_a_panel_and_others_have_one_in_other_colours() -> None:
    names = ("a/net+diffaug", "a/net", "a/lone", "a/net+augmix+diffaug")
    drawn = by_recipe({(name, "default"): LINE for name in names})
    assert list(drawn) == ["net", OTHERS]
    assert [curve.wide for curve in drawn["net"]] == [True, False], "the first stays visible under the second"
    assert [(curve.name, curve.look) for curve in drawn["net"]] == [
        (WITHOUT, (COLOURS[WITHOUT], "-")),
        (WITH, (COLOURS[WITH], "-")),
    ]
    assert [(curve.name, curve.look) for curve in drawn[OTHERS]] == [
        ("lone", (PALETTE[1][0], "-")),
        ("net+augmix+diffaug", (PALETTE[2][0], "--")),
    ]


def test_methods_differ_in_their_line_and_classifiers_of_one_kind_need_no_title() -> None:
    points = {(name, method): LINE for name in ("a/x", "b/x") for method in ("de", "dda")}
    ((title, curves),) = by_recipe(points, str.upper).items()
    assert title == "" and [(curve.name, curve.look[1]) for curve in curves if curve.look] == [
        ("a/x, DE", "-"),
        ("a/x, DDA", "--"),
        ("b/x, DE", "-"),
        ("b/x, DDA", "--"),
    ]


@pytest.mark.parametrize(("count", "size"), [(1, (1, 1)), (2, (1, 2)), (3, (2, 2)), (5, (3, 2))])
def test_panels_stand_in_two_columns_and_nothing_overlaps(count: int, size: tuple[int, int]) -> None:
    with styled([]):
        figure = panels({f"panel {k}": [Curve("line", LINE), Curve("other", LINE)] for k in range(count)}, "x", "y")
    figure.draw_without_rendering()
    rows, columns = size
    assert len(figure.axes) == rows * columns
    shown = figure.axes[:count]
    legend = figure.legends[0] if figure.legends else figure.axes[-1].get_legend()
    boxes = [axes.get_tightbbox() for axes in shown] + [legend.get_window_extent()]
    boxes += [text.get_window_extent() for text in (figure._supxlabel, figure._supylabel) if text]
    for k, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[k + 1 :]), k
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
    assert [text.get_text() for text in legend.get_texts()] == ["line", "other"]


def test_numbers_are_sorted_by_the_condition_and_turned_into_percent() -> None:
    entries = [e for e in boards.find(ROOT / "results" / "noisy-accuracy") if e.model.name == "digits/vit"]
    lines = by_time(entries, "accuracy")
    assert {method for _, method in lines} == {"default", "denoised"}
    assert all([x for x, *_ in line] == list(range(0, 1000, 100)) for line in lines.values())
    key, line = next(iter(lines.items()))
    assert percent(lines)[key][3] == (300, *(100 * value for value in line[3][1:4]))
    with pytest.raises(HarnessError, match="no mean_entropy by"):
        by_number(entries, "mean_entropy", r"t=(\d+)")


def test_a_drawing_has_a_value_for_each_column() -> None:
    with pytest.raises(HarnessError, match="a value for each of: model, value"):
        Drawing(None, ("model", "value"), [("a", 1.0), ("b",)], "")
