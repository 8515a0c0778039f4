"""Detection of out-of-distribution images: OpenOOD v1.5's benchmark (Zhang et al., 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.evaluation.features import FeatureBank
from harness.evaluation.records.keys import benchmark
from harness.evaluation.records.record import RunRecord
from harness.evaluation.response import check_independent
from harness.evaluation.views.calls import tally
from harness.metrics import ood
from harness.metrics.accuracy import accuracy
from harness.metrics.delong import Components, rank_all
from harness.metrics.paired import holm
from harness.metrics.ranking import Sample
from harness.plugins import AXES, Combination
from harness.report import comparison
from harness.report.figures import draw as figures
from harness.report.names import title, variants
from harness.report.selection import check_pairable
from harness.report.table import Table
from harness.suites.bases.fitting import Trial, choose, fit, naming_detector
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
    Pair,
    Stage,
    SuiteViews,
    Unsuited,
)

ID, SHIFTED, NEAR, FAR = "id", "csid", "near", "far"
"""Groups of conditions: test images in distribution, these under covariate shift, and the two groups outside."""


class Detection(SuiteBase):
    """Base of the suites that ask whether an image is from the classifier's world.

    A subclass gives `conditions` (groups as above), `open`, `training` and `validation`. A row of the leaderboard is a
    detector on the images that a test-time method shows: see `harness.evaluation.response.score`.
    """

    axis: ClassVar[str] = "detector"
    row_columns: ClassVar[Sequence[str]] = ("confidence", "score", "signed")
    methods: ClassVar[Sequence[str]] = ("msp", "react", "ash-b", "scale")
    shown: ClassVar[Sequence[tuple[str, str]]] = (
        ("auroc", NEAR), ("auroc", FAR), ("fpr95_ood_pos", NEAR), ("fpr95_ood_pos", FAR), ("accuracy", ID),
    )  # fmt: skip

    def training(self) -> Dataset:
        """Labelled images in distribution that the classifier was trained on."""
        raise NotImplementedError

    def validation(self) -> tuple[Dataset, Dataset]:
        """Images in and out of distribution for choosing settings: none of them is a test image."""
        raise NotImplementedError

    def tally(self, methods: Sequence[Combination], image: Tensor, classes: int) -> Calls:
        """Calls of the test-time methods; the images that detectors learn from are not counted."""
        return tally([p.outer for p in methods], image, classes)

    def prepare(
        self,
        pairs: Sequence[Pair],
        look: Callable[[Batch], SuiteViews],
        cache: Path,
        report: Callable[[Stage], None],
    ) -> Sequence[Pair]:
        """Fit the detectors; choose settings that are to be tuned, for all in one pass over the validation images.

        A detector that cannot work with its classifier comes back with the reason.
        """
        inside, outside = self.validation()
        trials: dict[int, list[Trial]] = {}
        ready = list(pairs)
        for index, pair in enumerate(pairs):
            entry = AXES["detector"].of(pair.method_name)
            bank = FeatureBank(pair.classifier, pair.weights, self.training(), inside, entry.source, cache, report)
            try:
                trials[index] = _fitted(pair, entry.facts, bank)
            except Unsuited as error:
                ready[index] = replace(pair, unsuited=str(error))
        chosen = choose(list(trials.values()), (inside, outside), look, self.part, report)
        for index, detector in zip(trials, chosen, strict=True):
            ready[index] = replace(pairs[index], method=detector)
        return ready

    def columns_of(self, task: BatchTask, pair: Pair) -> Columns:
        """Predicted class, its probability, the detector's score, and the values of tuned settings."""
        probabilities, scores = pair.method(task.views, pair)
        confidence, prediction = probabilities.max(1)
        columns = {"prediction": prediction, "confidence": confidence, "score": scores}
        if pair.method.rectified:
            columns["signed"] = (pair.classifier.respond(task.views.original())[0] < 0).any(1)
        for key, value in pair.method.chosen.items():
            columns[f"chosen {key}"] = torch.full_like(scores, value)
        return columns

    def summarise(self, rows: Mapping[str, Any]) -> tuple[list[Metric], list[str]]:
        """Accuracy in distribution; AUROC, FPR@95 and AUPR per data set and as near and far means."""
        inside, outside, images = self._sides(rows)
        clean = rows["condition"] == ID
        clean_accuracy = accuracy(rows["prediction"][clean] == rows["label"][clean], ID)
        chosen = [f"{k.removeprefix('chosen ')}={v[0]:g}" for k, v in rows.items() if k.startswith("chosen ")]
        notes = [f"Chosen on the validation images: {', '.join(chosen)}."] if chosen else []
        if "signed" in rows and rows["signed"].any():
            share = f"{rows['signed'].sum()} of {len(rows['signed'])}"
            notes.append(f"Negative features in {share} images: ash and scale are defined for features after a ReLU.")
        return [clean_accuracy, *ood.summary(inside, outside, images)], notes

    def _sides(self, rows: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]], np.ndarray]:
        """Scores in distribution, scores outside by group and data set, and the source images of the first."""
        in_rows = [rows["condition"] == c.name for c in self.conditions() if c.group in (ID, SHIFTED)]
        outside: dict[str, dict[str, np.ndarray]] = {}
        for c in self.conditions():
            if c.group in (NEAR, FAR):
                name = c.name.removeprefix(f"{c.group}/")
                outside.setdefault(c.group, {})[name] = rows["score"][rows["condition"] == c.name]
        inside, ids = (np.concatenate([rows[name][cells] for cells in in_rows]) for name in ("score", "id"))
        return inside, outside, _sources(rows["id"][in_rows[0]], ids)

    def contributions(self, rows: Mapping[str, Any], metric: str, condition: str) -> Sequence[Sample]:
        """See `SuiteBase`: for the accuracy, and for AUROCs by DeLong's components, see `ood.auroc_metric`."""
        if (metric, condition) == ("accuracy", ID):
            clean = rows["condition"] == ID
            correct = rows["prediction"][clean] == rows["label"][clean]
            return [Sample(rows["id"][clean], correct.astype(float), 1.0)]
        if metric != "auroc":
            return super().contributions(rows, metric, condition)
        inside, outside, images = self._sides(rows)
        sets = {f"{group}/{name}": scores for group, named in outside.items() for name, scores in named.items()}
        chosen = {name: scores for name, scores in sets.items() if condition in (name, name.partition("/")[0])}
        components = Components.of(rank_all(inside, chosen, images))
        names = images if components.image is None else np.unique(images)
        samples = [Sample(names, components.per_image())]
        for name, placements in zip(chosen, components.ood, strict=True):
            ids = rows["id"][rows["condition"] == name]
            samples.append(Sample(ids, (placements - placements.mean()) / len(chosen)))
        return samples

    def figure(self, entries: Sequence[RunRecord]) -> Mapping[str, Any]:
        """Maps of AUROC near and far, classifiers by detectors; score histograms and ROC curves of a few pairs."""
        rows = {(e.model.name, method): e for e, method in zip(entries, variants(entries), strict=True)}
        maps = {
            group: {row: metric.value for row, entry in rows.items() if (metric := entry.metric("auroc", group))}
            for group in (NEAR, FAR)
        }
        drawn = figures.heat_maps({group: values for group, values in maps.items() if values}, title(entries[0]))
        cells = {row: self._sides(rows[row].rows("score"))[:2] for row in figures.few(list(rows))}
        return {**drawn, "scores": figures.scores(cells, title(entries[0]))}

    def paired(self, a: RunRecord, b: RunRecord) -> dict[str, ood.PairedAUROC]:
        """Differences of AUROC per data set and group, on the images that both have; p-values as they stand."""
        check_pairable(a, b)
        if benchmark(a.suite) != benchmark(b.suite):
            raise HarnessError(f"{a.suite} and {b.suite} differ in what lies in distribution.")
        sides = comparison.common_rows(a, b, "score")
        (in_a, out_a, images), (in_b, out_b, _) = (self._sides(side) for side in sides)
        return ood.compare(in_a, out_a, in_b, out_b, images)

    def compare(self, a: RunRecord, b: RunRecord) -> Table:
        """Paired DeLong tests per data set and group."""
        results = self.paired(a, b)
        adjusted = holm([result.p for result in results.values()])
        data: list[dict[str, Any]] = []
        for (name, result), p in zip(results.items(), adjusted, strict=True):
            low, high = map(float, result.interval)
            numbers = {"difference": float(result.difference), "low": low, "high": high}
            data.append({"data set": name, **numbers, "n": int(result.n), "p": float(p)})
        rows = [
            [row["data set"], comparison.spell_difference(row, 2), str(row["n"]), comparison.spell_p(row["p"])]
            for row in data
        ]
        caption = "Positive: B is better. Same images on both sides; intervals and p: DeLong et al. (1988), paired"
        caption += comparison.several(len(rows)) + comparison.coverages(a, b)
        header = ["data set", "AUROC difference (points)", "images", "p"]
        return Table(comparison.versus(a, b), header, rows, caption, data=data)


class OpenOOD(Detection):
    """Base of the suites with OpenOOD's conditions. A subclass gives the names of the data sets, per group.

    shifts: covariate shifts of the images in distribution. shift_severity: their severity; 0 if they have none.
    full_spectrum: images under covariate shift count as in distribution. A subclass declares it as a setting.
    """

    near: ClassVar[Sequence[str]]
    far: ClassVar[Sequence[str]]
    shifts: ClassVar[Sequence[str]]
    shift_severity: ClassVar[int] = 0
    full_spectrum: ClassVar[bool] = False

    def conditions(self) -> Sequence[Condition]:
        """OpenOOD's test sets: in distribution, with full_spectrum also shifted, then near and far."""
        shifts = self.shifts if self.full_spectrum else ()
        return [
            Condition(ID, ID),
            *(Condition(f"{SHIFTED}/{name}", SHIFTED, severity=self.shift_severity) for name in shifts),
            *(Condition(f"{NEAR}/{name}", NEAR) for name in self.near),
            *(Condition(f"{FAR}/{name}", FAR) for name in self.far),
        ]


def _fitted(pair: Pair, facts: Mapping[str, Any], bank: FeatureBank) -> list[Trial]:
    """The fitted detectors of a pair, each tried on a few images."""
    inside = bank.validation_images
    few = inside.read(range(min(4, len(inside.ids)))).images
    with naming_detector(pair):
        detectors = fit(pair, facts, bank)
        for detector in detectors:
            check_independent(detector.detect, detector.whole, bank.classifier, few)
    return [Trial(pair, detector) for detector in detectors]


def _sources(clean: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The source images of rows: their ids, or the file names where these tell the clean images apart.

    OpenOOD's lists of corrupted images keep the file names of the clean ones in other folders.
    """
    names = np.array([Path(name).name for name in ids])
    return names if len({Path(name).name for name in clean}) == len(clean) else ids
