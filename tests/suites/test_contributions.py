"""Contributions of images to a metric: their means add up to what the records say."""

from __future__ import annotations

import pytest
from helpers import ROOT

from harness import plugins
from harness.evaluation.records.record import RunRecord
from harness.metrics.intervals import Undefined
from harness.report import boards

OTHERWISE = {"fpr95_ood_pos"}
"""Columns of shipped leaderboards that are no sums of means over images."""


def every(count: int, suite: str) -> list[RunRecord]:
    """Each so many-th shipped record of a suite."""
    return [r for r in boards.find(ROOT / "results" / suite) if r.suite.partition(":")[0] == suite][::count]


@pytest.mark.parametrize(
    ("suite", "count"),
    [
        ("digits", 8),
        ("digits-c", 8),
        ("certify", 2),
        ("openood-digits", 19),
        ("entropy-vs-t", 3),
        ("de-times", 2),
        ("noisy-accuracy", 5),
        ("gradient-alignment", 2),
    ],
)
def test_the_means_of_the_contributions_add_up_to_the_metric(suite: str, count: int) -> None:
    for entry in every(count, suite):
        rows, plugin = entry.rows(), plugins.suite.configure(entry.suite).plugin
        for name, condition in entry.columns:
            metric = entry.metric(name, condition)
            if name in OTHERWISE:
                with pytest.raises(Undefined, match="no sum of means over images"):
                    plugin.contributions(rows, name, condition)
                continue
            samples = plugin.contributions(rows, name, condition)
            assert metric and sum(s.values.mean() for s in samples) == pytest.approx(metric.value, abs=1e-12), entry
            assert all(len(set(s.images)) == len(s.images) == len(s.values) for s in samples)
            assert all(s.values.max() - s.values.min() <= s.span for s in samples)
