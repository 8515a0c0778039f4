"""Charts of boards: the right kinds, with the numbers of the records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from harness.evaluation.records import record
from harness.evaluation.records.record import RunRecord
from harness.metrics.accuracy import mean_accuracy
from harness.metrics.ood import auroc
from harness.report import boards
from harness.report.page.charts import charts_across, charts_of_board
from harness.report.page.charts.common import Board
from harness.report.page.charts.cost import apart, front
from harness.report.page.charts.published import published
from harness.report.page.charts.sampled.certified import at, survival
from harness.report.page.charts.sampled.confidence import POINTS, _evenly
from harness.report.page.charts.sampled.detection import roc
from harness.report.page.parts import Chart
from harness.report.posthoc import effective
from harness.report.published.paper_tables import paper_tables
from harness.report.ranks.board_ranks import Ranks
from harness.report.table import Table
from harness.types import Metric

RESULTS = Path(__file__).parents[3] / "results"
MODELS = ("resnet--", "vit--", "vit+diffaug--")


@cache
def shipped(folder: str, models: tuple[str, ...] = MODELS) -> list[RunRecord]:
    """The shipped records of some classifiers on a suite, the first board of that folder."""
    files = (RESULTS / folder).rglob("*.json")
    chosen = sorted(file for file in files if any(file.name.startswith(f"digits.{model}") for model in models))
    return next(iter(boards.boards(map(record.load, chosen)).values()))


def charts(entries: Sequence[RunRecord], sets: Sequence[tuple[int, int]] = ()) -> dict[str, Chart]:
    """By kind, the charts of a board."""
    drawn = charts_of_board(entries, Ranks(entries[0].columns[0], sets))
    return {re.sub(r".*?-[0-9a-f]{6}-", "", chart.id): chart for chart in drawn}


def graded(entry: RunRecord, severities: Sequence[int]) -> RunRecord:
    """A record with accuracies that fall with the severity."""
    metrics = [
        Metric("accuracy", f"{name}/{s}", 0.9 - 0.1 * s, (0.8 - 0.1 * s, 0.95 - 0.1 * s), 600, "fraction", True)
        for name in ("fog", "snow", "frost")
        for s in severities
    ]
    return replace(entry, metrics=[*(m for m in entry.metrics if m.name != "accuracy"), *metrics])


def test_a_board_of_corruptions_has_its_kinds_of_charts() -> None:
    entries = shipped("digits-c")
    drawn = charts(entries, [(1, 1), *[(2, len(entries))] * (len(entries) - 1)])
    assert list(drawn) == ["ranking", "ranks", "corruptions", "cost", "reliability", "risk"]
    assert len(drawn["ranking"].data.rows) == len(entries) == 12


@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ("certify", {"ranking", "certified"}),
        ("entropy-vs-t", {"ranking", "mean-entropy", "accuracy"}),
        ("noisy-accuracy", {"ranking", "accuracy"}),
        ("gradient-alignment", {"ranking"}),
        ("openood-digits", {"ranking", "heat", "cost", "roc", "scores"}),
        ("digits", {"ranking", "cost", "reliability", "risk"}),
    ],
)
def test_charts_are_chosen_by_metrics_and_columns(folder: str, kinds: set[str]) -> None:
    assert set(charts(shipped(folder))) == kinds


def test_the_ranking_shows_every_value_in_the_order_of_the_board() -> None:
    entries = shipped("digits-c")
    chart = charts(entries)["ranking"]
    values = [float(row[1]) for row in chart.data.rows]
    assert values == pytest.approx([100 * m.value for e in entries if (m := e.metric(*e.columns[0]))], rel=1e-4)
    # The middle of each interval's path lies further left from row to row.
    marks = re.findall(r'<g tabindex="0"><title>([^<]*)</title>.*?M([\d.]+) ', chart.svg)
    assert [tip.split(":")[0] for tip, _ in marks] == [row[0] for row in chart.data.rows]
    left = [float(x) for _, x in marks]
    lows = [float(row[2]) for row in chart.data.rows]
    assert sorted(range(len(left)), key=left.__getitem__) == sorted(range(len(lows)), key=lows.__getitem__)


def test_the_diagram_of_ranks_is_as_wide_as_the_sets_and_marks_the_top() -> None:
    entries = shipped("digits-c")
    sets = [(1, 3), (1, 3), (2, 4), *((k, k) for k in range(4, len(entries) + 1))]
    chart = charts(entries, sets)["ranks"]
    assert chart.svg.count('font-weight="700"') == 2
    widths = [float(width) for width in re.findall(r'd="M[\d.]+ [\d.]+l([\d.]+) 0"', chart.svg)]
    assert widths[0] == pytest.approx(widths[1], abs=0.2) == pytest.approx(widths[2], abs=0.2)
    assert widths[3] < widths[0]


def test_a_card_draws_ranks_on_the_axis_of_the_whole_board() -> None:
    entries = shipped("digits-c")[:1]
    ranks = Ranks(entries[0].columns[0], [(17, 33)], total=40)
    chart = next(chart for chart in charts_of_board(entries, ranks) if chart.id.endswith("-ranks"))
    assert "rank 17-33 of 40" in chart.svg
    assert re.search(r">40</text>", chart.svg)
    [width] = [float(width) for width in re.findall(r'd="M[\d.]+ [\d.]+l([\d.]+) 0"', chart.svg)]
    assert width == pytest.approx(422 * 16.7 / 40, abs=0.2)


@pytest.mark.parametrize(("rows", "total"), [(12, None), (12, 40), (1, 10)])
def test_rows_that_may_have_any_rank_get_a_sentence_and_no_chart_of_ranks(rows: int, total: int | None) -> None:
    entries = shipped("digits-c")[:rows]
    ranks = Ranks(entries[0].columns[0], [(1, total or rows)] * rows, total=total)
    drawn = charts_of_board(entries, ranks)
    assert not any(chart.id.endswith("-ranks") for chart in drawn)
    assert f"any rank from 1 to {total or rows}" in drawn[0].caption
    assert 'font-weight="700"' not in drawn[0].svg


def test_confident_classifiers_have_dots_or_a_sentence_that_nothing_is_to_draw() -> None:
    svg = charts(shipped("digits"))["reliability"].svg
    assert 'stroke-linecap="round"' in svg
    assert "too few uncertain answers" in svg


def test_risk_is_drawn_by_the_answers_withheld_with_points_close_to_none() -> None:
    left = np.linspace(98, 0, 600)
    places = _evenly(left)
    assert (places[0], places[-1]) == (0, 599)
    assert len(places) <= POINTS
    assert sum(left[places] < 10) > len(places) / 3
    assert _evenly(np.array([0.0])) == [0]


def test_marks_of_equal_rows_stand_beside_one_another() -> None:
    assert apart([(0, 5), (0, 5), (3, 6), (40, 5), (0, 50)]) == [(0, 5), (7, 5), (17, 6), (40, 5), (0, 50)]


def test_without_rank_sets_there_is_no_diagram_and_nothing_bold() -> None:
    drawn = charts(shipped("digits-c"))
    assert "ranks" not in drawn
    assert 'font-weight="700"' not in drawn["ranking"].svg


def test_severity_curves_are_means_over_the_corruptions() -> None:
    entries = [graded(entry, (1, 3, 5)) for entry in shipped("digits")]
    chart = charts(entries)["severity"]
    assert chart.data.header[-3:] == ["severity = 1", "severity = 3", "severity = 5"]
    assert [row[-3:] for row in chart.data.rows] == [["80", "60", "40"]] * len(entries)


def test_severity_curves_have_intervals_of_the_means_over_images(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = [(f"{n:03}", f"{name}/{s}", s) for n in range(50) for name in ("fog", "snow", "frost") for s in (1, 3)]
    ids, conditions, severities = map(np.array, zip(*grid, strict=True))
    wrong = (np.char.add(ids, conditions.astype(str)) > "040") & (severities == 3)
    rows = {"id": ids, "condition": conditions, "label": np.zeros(len(ids)), "prediction": wrong.astype(float)}
    monkeypatch.setattr(Board, "rows_of", lambda board, row, *needed: rows)
    entry = graded(shipped("digits")[0], (1, 3))
    chart = charts([entry])["severity"]
    low, high = (row[-1] for row in chart.data.rows[1:3])
    images = mean_accuracy(~wrong.reshape(50, 3, 2)[:, :, 1])
    assert (float(low), float(high)) == tuple(float(f"{100 * end:.5g}") for end in images.interval)
    assert "Bands: intervals" in chart.caption
    monkeypatch.undo()
    chart = charts([entry])["severity"]  # its sample table has no such conditions
    assert "without a band: 1" in chart.caption and len(chart.data.rows) == 1


def test_one_severity_makes_no_curve() -> None:
    assert "severity" not in charts([graded(entry, (5,)) for entry in shipped("digits")])


def test_the_pareto_front_holds_what_no_cheaper_row_reaches() -> None:
    points = [(0, 60.0), (0, 55.0), (9, 59.0), (9, 70.0), (50, 70.0), (50, 71.0)]
    assert front(points) == [0, 3, 5]
    assert front(points, higher_is_better=False) == [1]
    assert front([]) == []


def test_points_of_curves_are_bounded() -> None:
    for folder in ("certify", "openood-digits", "digits"):
        for chart in charts(shipped(folder)).values():
            longest = max(len(re.findall(r"-?[\d.]+", d)) for d in re.findall(r' d="([^"]*)"', chart.svg))
            assert longest <= 210, chart.id  # two numbers per point


def test_charts_of_one_board_have_ids_of_their_own_and_the_same_bytes_again() -> None:
    first, second = (charts(shipped("openood-digits")) for _ in range(2))
    ids = [id for chart in first.values() for id in [chart.id, *re.findall(r' id="([^"]*)"', chart.svg)]]
    assert len(ids) == len(set(ids))
    assert first == second


def test_a_hostile_classifier_is_text_everywhere() -> None:
    name = '<script>alert("&")</script>'
    entries = [replace(e, model=replace(e.model, name=name)) for e in shipped("digits", ("resnet--",))]
    for chart in charts(entries).values():
        assert "<script" not in chart.svg
        assert any(name in cell for row in chart.data.rows for cell in row)


def test_arguments_of_a_classifier_that_are_no_mapping_cost_no_chart() -> None:
    odd = {"arguments": [1]}
    entries = [replace(e, model=replace(e.model, details=odd)) for e in shipped("digits", ("resnet--",))]
    assert entries[0].num_classes is None and charts(entries)


def test_sample_tables_that_cannot_be_read_cost_only_their_rows(tmp_path: Path) -> None:
    entries = shipped("digits")
    moved = [replace(entries[0], path=tmp_path / "gone.json"), *entries[1:]]
    chart = charts(moved)["risk"]
    assert len(chart.data.rows) == len(entries) - 1
    assert "Rows without a readable sample table: 1." in chart.caption


def test_a_chart_without_any_sample_table_is_left_out_with_the_reason(tmp_path: Path) -> None:
    drawn = charts([replace(entry, path=tmp_path / "gone.json") for entry in shipped("certify")])
    assert set(drawn) == {"ranking"}
    assert "Left out: certified accuracy (no sample table can be read)." in drawn["ranking"].caption
    assert str(tmp_path) not in drawn["ranking"].caption


def test_a_board_of_one_row_has_charts_too() -> None:
    assert {"ranking", "reliability", "risk"} <= set(charts(shipped("digits", ("vit--default",))))


def test_tables_of_papers_are_marked_and_in_no_classifiers_colour() -> None:
    drawn = published(paper_tables(RESULTS))
    assert len(drawn) == 5
    for chart in drawn:
        assert "published" in chart.title and "not measured here" in chart.caption
        assert "--series-" not in chart.svg


def test_effective_robustness_is_drawn_for_a_clean_and_a_shifted_board_of_one_data_set() -> None:
    records = [*shipped("digits"), *shipped("digits-c")]
    (chart,), notes = charts_across(records)
    assert chart.title.startswith("Effective robustness: digits-c")
    assert len(chart.data.rows) == 12 and not notes
    points = effective.scatter(shipped("digits"), shipped("digits-c"))
    assert (
        "the line is too flat" in effective.caution(points.result) and effective.caution(points.result) in chart.caption
    )
    residuals = [float(row[3]) for row in chart.data.rows]
    assert residuals == pytest.approx(100 * points.result.residuals, abs=1e-3)
    beyond = {row[0]: [float(cell) for cell in row[3:]] for row in chart.data.rows}
    assert all(low <= value <= high for value, low, high in beyond.values())
    # The classifier that is worst under shift for its clean accuracy lies furthest below the line.
    assert min(beyond, key=lambda name: beyond[name][0]).startswith("digits/resnet,")


def test_effective_robustness_needs_both_boards_and_their_sample_tables(tmp_path: Path) -> None:
    clean, shifted = shipped("digits"), shipped("digits-c")
    moved = [replace(entry, path=tmp_path / "gone.json") for entry in shifted]
    assert charts_across(clean) == charts_across(shifted) == ([], [])
    charts, (note,) = charts_across([*clean, *moved])
    assert not charts and note.startswith("No chart of effective robustness of digits-c")
    assert "is not beside its record" in note and str(tmp_path) not in note


def test_measured_numbers_stand_beside_published_ones_in_colour_and_with_intervals() -> None:
    table = Table(
        "imagenet, accuracy (%)", ["classifier", "de", "default"], [["rn50", "70.0", "75.0"], ["vit", "", "80"]]
    )
    metric = Metric("accuracy", "clean", 0.72, (0.71, 0.73), 5000, "fraction", True)
    (plain,), (beside,) = published([table]), published([table], [{("rn50", "de"): metric}])
    assert plain.data == table and "--series-" not in plain.svg
    assert beside.data.rows == [["rn50", "de", "72", "71", "73"]]
    assert beside.svg.count("var(--series-1)") == 2
    assert "measured: de 72.0" in beside.svg


def test_certified_accuracy_falls_from_radius_to_radius_and_counts_wrong_images_as_zero() -> None:
    radii, shares = survival(np.array([0.5, 1.0, 0.5, 2.0]), np.array([True, True, True, False]))
    assert radii == [0.0, 0.5, 1.0]
    assert shares == [75.0, 25.0, 0.0]
    # At a radius itself an image still counts.
    assert [at((radii, shares), r) for r in (0, 0.5, 0.6, 1.0, 1.1)] == [75.0, 75.0, 25.0, 25.0, 0.0]


def test_a_roc_curve_rises_from_none_to_all_flagged_and_its_area_is_the_auroc() -> None:
    rng = np.random.default_rng(0)
    inside, outside = np.round(rng.normal(1, 1, 400), 1), np.round(rng.normal(0, 1, 300), 1)
    x, y = roc(inside, [outside])
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 100, 100)
    assert len(x) <= 30 and (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert np.trapezoid(y, x) / 1e4 == pytest.approx(auroc(inside, outside), abs=0.005)


def test_a_roc_curve_of_several_sets_is_their_mean_whatever_their_sizes() -> None:
    rng = np.random.default_rng(1)
    inside, easy, hard = rng.normal(size=400), rng.normal(-4, size=50), rng.normal(size=5_000)
    x, y = roc(inside, [easy, hard], 10_000)
    assert np.trapezoid(y, x) / 1e4 == pytest.approx((auroc(inside, easy) + auroc(inside, hard)) / 2, abs=1e-3)
