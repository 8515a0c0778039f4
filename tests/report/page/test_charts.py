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
from harness.metrics.ood import auroc
from harness.report import boards
from harness.report.page.charts import charts_across, charts_of_board
from harness.report.page.charts.cost import front
from harness.report.page.charts.published import published
from harness.report.page.charts.sampled.certified import at, survival
from harness.report.page.charts.sampled.detection import roc
from harness.report.page.parts import Chart
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
    drawn = charts(entries, [(1, len(entries))] * len(entries))
    assert list(drawn) == ["ranking", "ranks", "corruptions", "cost", "reliability", "risk"]
    assert len(drawn["ranking"].data.rows) == len(entries) == 12


@pytest.mark.parametrize(
    ("folder", "kinds"),
    [
        ("certify", {"ranking", "certified"}),
        ("entropy-vs-t", {"ranking", "mean-entropy", "accuracy"}),
        ("noisy-accuracy", {"ranking", "accuracy"}),
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


def test_without_rank_sets_there_is_no_diagram_and_nothing_bold() -> None:
    drawn = charts(shipped("digits-c"))
    assert "ranks" not in drawn
    assert 'font-weight="700"' not in drawn["ranking"].svg


def test_severity_curves_are_means_over_the_corruptions() -> None:
    entries = [graded(entry, (1, 3, 5)) for entry in shipped("digits")]
    chart = charts(entries)["severity"]
    assert chart.data.header[-3:] == ["severity = 1", "severity = 3", "severity = 5"]
    assert [row[-3:] for row in chart.data.rows] == [["80", "60", "40"]] * len(entries)


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
    (chart,) = charts_across(records)
    assert chart.title.startswith("Effective robustness: digits-c")
    assert len(chart.data.rows) == 12
    beyond = {row[0]: [float(cell) for cell in row[3:]] for row in chart.data.rows}
    assert all(low <= value <= high for value, low, high in beyond.values())
    # The classifier that is worst under shift for its clean accuracy lies furthest below the line.
    assert min(beyond, key=lambda name: beyond[name][0]).startswith("digits/resnet,")


def test_effective_robustness_needs_both_boards_and_their_sample_tables(tmp_path: Path) -> None:
    clean, shifted = shipped("digits"), shipped("digits-c")
    moved = [replace(entry, path=tmp_path / "gone.json") for entry in shifted]
    assert charts_across(clean) == charts_across(shifted) == charts_across([*clean, *moved]) == []


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
    x, y = roc(inside, outside)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 100, 100)
    assert len(x) <= 30 and (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert np.trapezoid(y, x) / 1e4 == pytest.approx(auroc(inside, outside), abs=0.005)
