"""Base of the suites of adversarial attacks: robust accuracy within a threat model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from harness import plugins
from harness.base.errors import Notice
from harness.evaluation.records.record import RunRecord
from harness.metrics.ranking import Sample
from harness.report.table import Table
from harness.suites.bases.adversarial import attacking, cost, flagging, measures, shown, timing
from harness.suites.bases.adversarial.attacking import RowUnderAttack, draws_of, is_plain, members_of, way_of
from harness.suites.bases.adversarial.measures import CLEAN
from harness.suites.bases.adversarial.progress import COLUMNS
from harness.suites.bases.adversarial.verdicts import KNOWN
from harness.suites.bases.suite import SuiteBase
from harness.types import (
    Batch,
    BatchTask,
    Calls,
    Columns,
    Condition,
    Dataset,
    HarnessError,
    Metric,
    Observation,
    Pair,
    Stage,
    SuiteViews,
    ThreatModel,
)

COMPLETE, ADAPTIVE = "autoattack", "adaptive"
"""Attacks whose rows rank together: on a classifier as it is, and on one under a test-time method."""


WITHOUT_NOISE = (
    "{suite}: {attack} averages {draws} draws of a test-time method's noise, and the method default has none: it takes "
    "{draws} times as long and finds no more, unless the network itself answers at random. Take --attack autoattack "
    "for the classifier as it is, or name a method with --tta."
)
"""Notice of an attack on a classifier as it is that was made for stochastic ones."""


@dataclass(frozen=True)
class Adversarial(SuiteBase):
    """Base of the suites of adversarial attacks. A subclass gives its data set, and the usual eps of each norm.

    radii: by norm, eps unless the settings say otherwise.

    norm: linf or l2. eps: radii of the ball, for images in [0, 1], such as 8/255: one condition each; none for the
        usual one.
    """

    axis: ClassVar[str] = "attack"
    methods: ClassVar[Sequence[str]] = (COMPLETE,)
    row_columns: ClassVar[Sequence[str]] = (*COLUMNS, *flagging.COLUMNS)
    part: ClassVar[int] = 100
    keeps_images: ClassVar[bool] = True
    same_images: ClassVar[bool] = True
    radii: ClassVar[Mapping[str, float]]
    norm: str = "linf"
    eps: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        threats = [ThreatModel(self.norm, radius) for radius in self.eps]  # which checks them
        usual = self.radii[self.norm] if self.norm in self.radii else ThreatModel(self.norm).eps
        radii = sorted(threat.eps for threat in threats)
        if len({str(ThreatModel(self.norm, radius)) for radius in radii}) < len(radii):
            raise HarnessError(f"{self.name}: give each eps once, and so that six digits tell them apart.")
        object.__setattr__(self, "eps", () if radii == [usual] else tuple(radii))

    @cached_property
    def threats(self) -> Mapping[str, ThreatModel]:
        """Threat models by the name of their condition, eps rising."""
        threats = [ThreatModel(self.norm, radius) for radius in self.eps or (self.radii[self.norm],)]
        return {str(threat): threat for threat in threats}

    @property
    def shown(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Robust accuracy at each eps, the largest first, then the accuracy without an attack."""
        return [*(("robust_accuracy", name) for name in reversed(self.threats)), ("accuracy", CLEAN)]

    def conditions(self) -> Sequence[Condition]:
        """One per eps."""
        return [Condition(name, threat.norm, size=self.size) for name, threat in self.threats.items()]

    def open(self, condition: Condition, seed: int) -> Dataset:
        """The images to attack."""
        return self.test_images()

    def facts(self) -> Mapping[str, str]:
        """The perturbations that are allowed."""
        return {"threat model": ", ".join(self.threats)}

    def tally(self, methods: Sequence[Any], image: Tensor, classes: int) -> Calls:
        """Passes at the largest eps if no image falls; raises HarnessError for an eps that no two images are apart."""
        threat = list(self.threats.values())[-1]
        if threat.norm == "l2" and threat.eps > (widest := math.sqrt(image.numel())):
            raise HarnessError(
                f"{self.name}: eps={threat.eps:g} is more than {widest:.4g}, the largest distance of two such images. "
                f"On the scale of [0, 1] {threat.eps:g} of 255 is eps={threat.eps:g}/255."
            )
        return cost.calls(methods, image, classes, threat)

    def attack_seconds(self, pair: Pair, look: Callable[[Batch], SuiteViews]) -> tuple[float, float]:
        """Seconds of a row's attacks per image and eps, at most, and of its flags, from passes that are measured.

        look: see `prepare`. Raises HarnessError for a classifier that cannot be attacked.
        """
        threat = list(self.threats.values())[-1]
        return timing.row_seconds(pair, self.open(self.conditions()[-1], 0), self.every, threat, look)

    def check(self, methods: Sequence[Any], denoiser: Any) -> None:
        """An attack may refuse a test-time method, ``check(method)``, as an adaptive one refuses that there is none.

        A notice says where it averages over draws of a noise that there is not.
        """
        for combination in methods:
            if hasattr(combination.inner, "check"):
                combination.inner.check(combination.outer)
            draws = draws_of(combination.inner)
            if is_plain(combination.outer) and draws > 1:
                attack = plugins.attack.text_of(combination.inner)
                warnings.warn(Notice(WITHOUT_NOISE.format(suite=self.name, attack=attack, draws=draws)), stacklevel=2)

    def aside(self, combination: Any, text: str) -> str:
        """The attack, for a row that must not rank beside others because the complete one was not made; else "".

        combination, text: the method and the attack on it, and their canonical text.
        """
        attack = plugins.attack.text_of(combination.inner) or text
        plain = is_plain(combination.outer)
        if attack == (COMPLETE if plain else ADAPTIVE):
            return ""
        known = "" if plain else " in known noise" if way_of(combination) == KNOWN else " in unseen noise"
        return f"attack {attack}{known}"

    def notes_on(self, combination: Any) -> Sequence[str]:
        """Sentences for a record on its attacks: their names in turn, and what they say of themselves."""
        attack = combination.inner
        members = members_of(attack)
        order = ", ".join(f"{number} {name}" for number, (name, _) in enumerate(members, 1))
        notes = [f"Attacks in turn: {order}."] if len(members) > 1 else []
        said = [getattr(one, "note", "") for one in (attack, *(member for _, member in members))]
        return [*notes, *dict.fromkeys(filter(None, said))]

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """The pairs with their flags at the largest eps, which are measured when the first image asks for them."""
        *_, (condition, threat) = zip(self.conditions(), self.threats.values(), strict=True)
        data = self.open(condition, 0)
        return [
            replace(
                pair,
                method=flagging.FlaggedMethod(
                    pair.method.outer, pair.method.inner, pair, data, self.every, threat, look, report
                ),
            )
            for pair in pairs
        ]

    def observe(self, task: BatchTask) -> Iterator[Observation]:
        """Attack the images of the batch, pair by pair; an observation after each call of an attack."""
        threat = self.threats[task.condition.name]
        rows = [RowUnderAttack.begin(task, place, threat) for place in range(len(task.pairs))]
        flags = [
            flagging.columns(pair.method, resumed, len(task.labels))
            for pair, resumed in zip(task.pairs, task.resumed, strict=True)
        ]
        if any(columns is not None for columns in task.resumed):
            yield _observed(rows, flags, 0.999)
        for row in rows:
            for _ in row.run():
                yield _observed(rows, flags, 0.999)
        yield _observed(rows, flags, 1.0)

    def rescored(self, task: BatchTask, images: Tensor) -> Mapping[str, Any]:
        """Kept images of the task's only pair, judged again: see `attacking.rescored`."""
        return attacking.rescored(task, images, self.threats[task.condition.name])

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """See `harness.suites.bases.adversarial.measures`."""
        metrics, notes = measures.metrics(rows, self.threats)
        return metrics, [*flagging.notes(rows), *notes]

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `SuiteBase`: for clean and robust accuracy."""
        for name, level in measures.levels(rows, list(self.threats)):
            if metric == "robust_accuracy" and condition == name:
                return [Sample(level.images, level.final, 1.0)]
            if metric == "accuracy" and condition == CLEAN:
                return [Sample(level.images, level.shares[:, 0], 1.0)]
        return super().contributions(rows, metric, condition)

    def row_faults(self, rows: Mapping[str, Any]) -> Iterator[str]:
        """Columns agree with each other."""
        yield from measures.faults(rows, self.threats)
        yield from flagging.faults(rows)

    def figure(self, entries: Sequence[RunRecord]) -> Any:
        """Robust accuracy by eps, or of each row."""
        return shown.drawn(entries, self.threats)

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """Paired differences of robust accuracy."""
        return shown.compared(a, b, self.conditions())


def _observed(rows: Sequence[RowUnderAttack], flags: Sequence[Columns], most: float) -> Observation:
    done = sum(row.progress.done(len(row.members)) for row in rows) / len(rows)
    columns = [{**row.progress.columns(), **own} for row, own in zip(rows, flags, strict=True)]
    return Observation(columns, min(done, most))
