"""Trainings that differ only in their seed as one row, with intervals over trainings, and their paired comparison.

Records name a classifier's weights; the card beside the weights says how these were trained (`harness train` writes
it). Two classifiers are of one family where their cards agree in all but the seed, and in the networks that they
start from or learn with in the same way. Intervals are Student's t over trainings, on one and the same test set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.base.errors import HarnessError
from harness.evaluation.records.record import RunRecord
from harness.report.cards import beside, card_of, read
from harness.report.comparison import several, spell_difference, spell_p
from harness.report.names import heading, spell, title
from harness.report.table import Table
from harness.types import Metric

NETWORKS = ("init", "deepaugment", "diffusion")
"""Settings of a training that may name the results of other trainings."""

DEPTH = 5
"""Trainings that start from one another which are followed."""


EQUAL = "Trainings with equal values have no interval and no p: their spread says nothing about that of others."
"""The sentence on a zero spread over trainings."""


@dataclass(frozen=True)
class Family:
    """Records of trainings that differ only in their seed, under one method of one board.

    name: of the classifiers, without the seed. members: by seed, rising.
    """

    name: str
    method: str
    members: Mapping[int, RunRecord]

    @property
    def label(self) -> str:
        """Name, method and seeds: ``runs/resnet:de (seeds 0, 1, 2)``."""
        return f"{self.name}:{self.method} (seeds {', '.join(map(str, self.members))})"

    def values(self, column: tuple[str, str]) -> dict[int, Metric]:
        """By seed, the metric of each training that has it."""
        return {seed: m for seed, entry in self.members.items() if (m := entry.metric(*column))}


def families(board: Sequence[RunRecord]) -> list[Family]:
    """The families of a board; a training without a card, or without others, is one by itself, with seed 0 or its own.

    Raises HarnessError where two records have one seed, and so nothing tells them apart.
    """
    grouped: dict[tuple[str, str], dict[int, RunRecord]] = {}
    for entry in board:
        card = card_of(entry)
        training = _training(*card) if card else f"weights {entry.model.sha256}"
        members = grouped.setdefault((training, entry.variant), {})
        seed = _seed(card[1]) if card else 0
        if seed in members:
            raise HarnessError(
                f"{members[seed].model.name} and {entry.model.name} are trainings with one seed, {seed}, and the same "
                "settings: move the record of one away."
            )
        members[seed] = entry
    return [Family(_name(m), method, dict(sorted(m.items()))) for (_, method), m in grouped.items()]


def ranking(board: Sequence[RunRecord]) -> Table:
    """A leaderboard with a row per family: means over trainings with a t interval, best first."""
    rows: list[tuple[float, list[str], dict[str, Any]]] = []
    shown = [column for column in board[0].columns if any(entry.metric(*column) for entry in board)]
    for family in families(board):
        metrics = [_over_trainings(list(family.values(column).values())) for column in shown]
        first = metrics[0]
        order = math.inf if first is None else -first.value if first.higher_is_better else first.value
        cells = [_spelt(metric) for metric in metrics]
        numbers: dict[str, Any] = {"model": family.name, "method": family.method, "trainings": len(family.members)}
        for (name, condition), metric in zip(shown, metrics, strict=True):
            column = name if [n for n, _ in shown].count(name) == 1 else f"{name} {condition}"
            low, high = metric.interval if metric else (math.nan, math.nan)
            value = metric.value if metric else math.nan
            numbers |= {column: value, f"{column} low": low, f"{column} high": high}
        rows.append((order, [family.name, family.method, *cells, str(len(family.members))], numbers))
    rows.sort(key=lambda row: (row[0], row[1]))
    caption = (
        "Means over trainings that differ only in their seed, with a 95 % t interval over trainings, on one and the "
        f"same test images. A single training has no interval. {EQUAL} Rows are in the order of the first column, "
        "which no test supports."
    )
    header = ["model", "method", *(heading(board[0], *column) for column in shown), "trainings"]
    return Table(f"{title(board[0])}: trainings", header, [r[1] for r in rows], caption, data=[r[2] for r in rows])


def compare(a: RunRecord, b: RunRecord, records: Sequence[RunRecord]) -> Table:
    """The family of record b against that of record a, paired by seed: differences with a t interval over trainings.

    records: those to look for trainings in. Raises HarnessError where fewer than two seeds are in both families.
    """
    left, right = (_family_of(entry, records) for entry in (a, b))
    shared = sorted(left.members.keys() & right.members.keys())
    if len(shared) < 2:
        raise HarnessError(
            f"{left.label} and {right.label} share {len(shared)} seeds: pairing takes two. Train with equal seeds "
            "(harness train --seed), and keep each training's card.json beside its weights."
        )
    from harness.metrics.intervals import of_trainings, p_of_trainings
    from harness.metrics.paired import holm

    data: list[dict[str, Any]] = []
    for column in (c for c in a.columns if b.metric(*c)):
        before, after = left.values(column), right.values(column)
        paired = [seed for seed in shared if seed in before and seed in after]
        sign = 1.0 if len(paired) < 2 or before[paired[0]].higher_is_better else -1.0
        gains = sign * np.array([after[seed].value - before[seed].value for seed in paired])
        if len(gains) > 1:
            low, high = of_trainings(gains)
            numbers = {"difference": float(gains.mean()), "low": low, "high": high, "n": len(gains)}
            data.append({"metric": " ".join(column), **numbers, "p": p_of_trainings(gains)})
    tested = [row for row in data if not math.isnan(row["p"])]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p"] = p
    rows = [_compared(row) for row in data]
    caption = "Paired by seed. Positive: B is better. Intervals and p: Student's t over trainings"
    caption += several(len(tested)) + (f" {EQUAL}" if len(tested) < len(data) else "")
    header = ["metric", "difference (x 100)", "trainings", "p"]
    return Table(f"B = {right.label} against A = {left.label} on {a.suite}", header, rows, caption, data=data)


def _compared(row: Mapping[str, Any]) -> list[str]:
    difference, p = spell_difference(row, 2), spell_p(row["p"])
    if math.isnan(row["p"]):
        difference, p = difference.partition(" [")[0], "-"
    return [row["metric"], difference, str(row["n"]), p]


def _family_of(entry: RunRecord, records: Sequence[RunRecord]) -> Family:
    board = [r for r in records if r.board == entry.board and r.variant == entry.variant]
    return next(f for f in families(board) if any(r.key == entry.key for r in f.members.values()))


def _over_trainings(metrics: Sequence[Metric]) -> Metric | None:
    """The mean of a metric over trainings; without an interval, NaN, where there is one."""
    from harness.metrics.intervals import of_trainings

    if not metrics:
        return None
    first, values = metrics[0], np.array([metric.value for metric in metrics])
    bounds = (0.0, 1.0 if first.unit == "fraction" else math.inf)
    ends = of_trainings(values, *bounds) if len(values) > 1 else (math.nan, math.nan)
    return Metric(
        first.name, first.condition, float(values.mean()), ends, len(values), first.unit, first.higher_is_better
    )


def _spelt(metric: Metric | None) -> str:
    return spell(metric) if metric is None or not math.isnan(metric.interval[0]) else spell(metric).partition(" [")[0]


def _seed(card: Mapping[str, Any]) -> int:
    seed = card["spec"].get("seed", 0)
    return seed if isinstance(seed, int) else 0


def _training(place: Path, card: Mapping[str, Any], depth: int = 0) -> str:
    """Everything that decides a training but its seed, as text; trainings that it builds on by theirs."""
    spec = {key: value for key, value in card["spec"].items() if key != "seed"}
    for name in NETWORKS:
        text = spec.get(name)
        if not isinstance(text, str) or not text or depth >= DEPTH:
            continue
        for root in (place.parent.parent, place.parent):
            before = next(((p, v) for p in beside(root / text) if (v := read(p))), None)
            if before and _seed(before[1]) == _seed(card):
                spec[name] = f"training {_training(*before, depth + 1)}"
                break
    data = card["data"].get("sha256") if isinstance(card.get("data"), dict) else None
    return json.dumps([spec, data, card.get("plugins", {})], sort_keys=True)


def _name(members: Mapping[int, RunRecord]) -> str:
    """The classifiers' name without the seed at its end, if that is all in which they differ; else the first name."""
    names = {seed: entry.model.name for seed, entry in members.items()}
    stems = {name.removesuffix(str(seed)).rstrip("-_. ") for seed, name in names.items()}
    return stems.pop() if len(names) > 1 and len(stems) == 1 else names[min(names)]
